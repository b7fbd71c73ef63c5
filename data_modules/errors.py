"""The base class of all errors that a user can fix."""


class UserError(ValueError):
    """An error that the user can fix: the message states what was found, what was expected and the remedy.

    The command line prints only the message of this error and its subclasses. Any other exception is a defect of the
    program and keeps its traceback. A message never contains a cell of a record.
    """
