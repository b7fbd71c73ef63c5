"""Text networks, from windows of token ids to one vector per document."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from data_modules.errors import UserError
from mmnar_lightning.nn.backbone import autocast_bf16, train_last_layers
from mmnar_lightning.nn.item_pooling import weighted_mean

PAIR_FACTOR = 8191
"""A prime that spreads pairs of words over the hash table."""


class TextBackbone(nn.Module):
    """Encodes a document as the mean over the tokens of all its windows.

    Windows of similar length are batched together, which limits padding.

    Args:
        network: tokens (n, L) int64 and attended (n, L) bool, None = all -> states (n, L, width).
        width: width of a state.
        batch_windows: windows per forward pass.
        bf16: run the network in bfloat16.
        checkpointing: in training, recompute activations in the backward pass, so that only those of one batch of
            windows are in memory.
    """

    def __init__(
        self, network: nn.Module, width: int, *, batch_windows: int, bf16: bool = False, checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.width = width
        self.batch_windows = batch_windows
        self.bf16 = bf16
        self.checkpointing = checkpointing

    def forward(self, values: dict[str, Tensor]) -> Tensor:
        """Encode documents.

        Args:
            values: `tokens` (w, L) int64, `length` (w,) int64 and `item` (w,) int64, the document of each window;
                every document has a window.

        Returns:
            (n, width) float32, one vector per document.
        """
        length, item = values["length"], values["item"]
        order = torch.argsort(length, descending=True, stable=True)
        batches = torch.split(order, self.batch_windows)
        means = torch.cat([self._means(values["tokens"][part], length[part]) for part in batches])
        return weighted_mean(means, length[order].to(means.dtype), item[order], int(item.max()) + 1)

    def _means(self, tokens: Tensor, length: Tensor) -> Tensor:
        if not (self.checkpointing and self.training):
            return self.windows(tokens, length)
        means: Tensor = checkpoint(self.windows, tokens, length, use_reentrant=False)
        return means

    def windows(self, tokens: Tensor, length: Tensor) -> Tensor:
        """Mean state of each window's tokens.

        Args:
            tokens: (n, L) int64.
            length: (n,) int64, at least 1.

        Returns:
            (n, width) float32.
        """
        tokens = tokens[:, : int(length.max())]
        return self.trimmed_windows(tokens, length, is_full=False)

    def trimmed_windows(self, tokens: Tensor, length: Tensor, *, is_full: bool) -> Tensor:
        """As `windows`, of tokens without a column of padding alone; does not wait for the device.

        Args:
            tokens: (n, L) int64, where L is the longest length.
            length: (n,) int64, at least 1.
            is_full: whether all windows have this length, so that attention needs no mask and runs its fastest kernel.

        Returns:
            (n, width) float32.
        """
        attended = torch.arange(tokens.shape[1], device=tokens.device) < length[:, None]
        with autocast_bf16(tokens.device, self.bf16):
            states = self.network(tokens, None if is_full else attended)
        kept = torch.where(attended[..., None], states.float(), 0.0)
        return kept.sum(1) / length[:, None]


class PretrainedNetwork(nn.Module):
    """Adapts a model of `transformers` to `TextBackbone`.

    Args:
        model: returns `last_hidden_state`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, attended: Tensor | None) -> Tensor:
        """Tokens (n, L) int64 and attended (n, L) bool, None = all -> states (n, L, width)."""
        mask = None if attended is None else attended.long()
        states: Tensor = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        return states


class WordBag(nn.Module):
    """Encodes a document as the mean embedding of its words and pairs of words (Joulin et al., EACL 2017).

    Trained from scratch. All windows are summed at once and without padding: every part of them would write a gradient
    of the size of the table. No state of a word is stored.

    Args:
        vocabulary: size of the hash tables of words and of pairs; 0 is padding.
        dim: width of a word's embedding and of a pair's.
        dropout: probability of dropping a word with its pair.
    """

    def __init__(self, vocabulary: int, dim: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, dim)
        self.pairs = nn.Embedding(vocabulary, dim)
        for embedding in (self.words, self.pairs):
            nn.init.normal_(embedding.weight, std=0.1)
        self.dropout = dropout
        self.width = 2 * dim

    def forward(self, values: dict[str, Tensor]) -> Tensor:
        """Encode documents.

        Args:
            values: as of `TextBackbone`.

        Returns:
            (n, width) float32, one vector per document.
        """
        tokens, length, item = values["tokens"], values["length"], values["item"]
        attended = torch.arange(tokens.shape[1], device=tokens.device) < length[:, None]
        following = functional.pad(tokens[:, 1:], (0, 1))
        pair = (tokens * PAIR_FACTOR + following) % self.pairs.num_embeddings
        start = length.cumsum(0) - length
        words, pairs = tokens[attended], pair[attended]
        kept = functional.dropout(self.words.weight.new_ones(len(words)), self.dropout, self.training)
        sums = [
            functional.embedding_bag(found, table.weight, start, mode="sum", per_sample_weights=kept).float()
            for found, table in ((words, self.words), (pairs, self.pairs))
        ]
        count = int(item.max()) + 1
        total = sums[0].new_zeros((count, self.width)).index_add(0, item, torch.cat(sums, dim=1))
        return total / length.new_zeros(count).index_add(0, item, length)[:, None]


def freeze_unused(network: nn.Module) -> list[str]:
    """Freeze parameters that the states do not depend on (a pooler): DDP needs a gradient for every trained parameter.

    Returns:
        Names of the frozen parameters.
    """
    device = next(network.parameters()).device
    tokens = torch.zeros((1, 4), dtype=torch.int64, device=device)
    with torch.enable_grad():
        network(tokens, torch.ones_like(tokens, dtype=torch.bool)).sum().backward()
    unused = [(name, entry) for name, entry in network.named_parameters() if entry.grad is None and entry.requires_grad]
    for _, parameter in unused:
        parameter.requires_grad_(False)
    network.zero_grad(set_to_none=True)
    return [name for name, _ in unused]


def freeze_all_but_last(model: nn.Module, num_layers: int, top_layers: int) -> None:
    """Freeze a transformer except its last layers; it must have that many.

    Args:
        model: holds its layers in one ModuleList.
        num_layers: their number.
        top_layers: number of layers that are trained.

    Raises:
        UserError: if the layers are not found.
    """
    layers = next(_layers(model, num_layers), None)
    if layers is None:
        raise UserError("embed.text.trainable=top_k: the layers of this model are not found; use all or lora")
    train_last_layers(model, [list(layer.parameters()) for layer in layers], top_layers, "embed.text")


def _layers(model: nn.Module, num_layers: int) -> Iterator[nn.ModuleList]:
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == num_layers:
            yield module
