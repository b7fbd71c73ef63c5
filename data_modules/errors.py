"""The errors that a user can fix."""


class UserError(ValueError):
    """Something that the user can fix: the message says what was given, what was expected and how to fix it.

    Only this error and its subclasses become a line on the screen. Any other exception is a defect of the program and
    keeps its traceback. A message never holds a cell of a record.
    """
