"""Source for functions of other libraries that torch.fx takes as a whole, by their names."""

HELPERS = {
    "torchvision.ops.stochastic_depth.stochastic_depth": '''\
def stochastic_depth(x: Tensor, p: float, mode: str, training: bool) -> Tensor:
    """In training a branch is left out with the probability p: for each image ("row") or for the whole batch ("batch")."""
    if not training or p == 0:
        return x
    size = [len(x) if mode == "row" else 1] + [1] * (x.dim() - 1)
    kept = torch.empty(size, dtype=x.dtype, device=x.device).bernoulli_(1 - p)
    return x * (kept / (1 - p) if p < 1 else kept)
''',
    "torchvision.models.swin_transformer._get_relative_position_bias": '''\
def _get_relative_position_bias(table: Tensor, index: Tensor, window_size: list) -> Tensor:
    """What attention adds for each pair of positions in a window, (1, heads, positions, positions)."""
    positions = window_size[0] * window_size[1]
    return table[index].view(positions, positions, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
''',
    "torchvision.models.swin_transformer._patch_merging_pad": '''\
def _patch_merging_pad(x: Tensor) -> Tensor:
    """Of each 2 x 2 pixels of a map (N, H, W, C) one, with all their channels; odd sides are made even with zeros."""
    height, width = x.shape[-3:-1]
    x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
    return torch.cat([x[..., row::2, column::2, :] for column in (0, 1) for row in (0, 1)], -1)
''',
    "torchvision.models.swin_transformer.shifted_window_attention": '''\
def shifted_window_attention(x: Tensor, qkv_weight: Tensor, proj_weight: Tensor, relative_position_bias: Tensor, window_size: list,
                             num_heads: int, shift_size: list, attention_dropout: float = 0.0, dropout: float = 0.0, qkv_bias=None,
                             proj_bias=None, logit_scale=None, training: bool = True) -> Tensor:
    """Attention between the positions of each window of a map (N, H, W, C), which is shifted before (Swin Transformer).

    With a ``logit_scale`` by the angle between query and key (its second version).
    """
    batch, height, width, channels = x.shape
    rows, columns = window_size
    x = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
    full = x.shape[1:3]
    shift = [0 if side >= length else by for by, side, length in zip(shift_size, window_size, full)]
    x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))

    def in_windows(of: Tensor) -> Tensor:
        of = of.view(len(of), full[0] // rows, rows, full[1] // columns, columns, -1)
        return of.transpose(2, 3).reshape(-1, rows * columns, of.shape[-1])

    if logit_scale is not None and qkv_bias is not None:  # keys have no bias there
        first, _, last = qkv_bias.chunk(3)
        qkv_bias = torch.cat([first, torch.zeros_like(first), last])
    qkv = F.linear(in_windows(x), qkv_weight, qkv_bias)
    query, key, value = qkv.view(len(qkv), rows * columns, 3, num_heads, -1).permute(2, 0, 3, 1, 4)
    if logit_scale is not None:
        scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
        scores = scores * torch.clamp(logit_scale, max=math.log(100.0)).exp()
    else:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    scores = scores + relative_position_bias

    if any(shift):  # what came from the other side of the map is not attended to
        part_of = []
        for by, side, length in zip(shift, window_size, full):
            number = x.new_zeros(length)
            for part, (start, end) in enumerate([(0, -side), (-side, -by), (-by, None)]):
                number[start:end] = part
            part_of.append(number)
        parts = in_windows((3 * part_of[0][:, None] + part_of[1])[None, :, :, None]).squeeze(-1)
        apart = (parts[:, None] != parts[:, :, None]).to(x.dtype) * -100.0
        scores = (scores.view(batch, len(parts), num_heads, rows * columns, -1) + apart[:, None]).view_as(scores)

    weights = F.dropout(F.softmax(scores, dim=-1), attention_dropout, training)
    x = (weights @ value).transpose(1, 2).reshape(len(qkv), rows * columns, channels)
    x = F.dropout(F.linear(x, proj_weight, proj_bias), dropout, training)
    x = x.view(batch, full[0] // rows, full[1] // columns, rows, columns, channels).transpose(2, 3).reshape(batch, *full, channels)
    return torch.roll(x, (shift[0], shift[1]), (1, 2))[:, :height, :width].contiguous()
''',
}
