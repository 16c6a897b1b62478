"""The vocabulary of operators: Flyweight's names, aten's behind them, and which are free, element-wise or reductions.

Plain data; tracing translates by it, counting, memory and receptive field build on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SOFTMAX = 5  # maximum, subtraction, exponential, sum, division

# Operators that only rename, reorder, fill or fetch: free of arithmetic, though not of bytes moved.
_FREE = """
    view reshape flatten unflatten permute transpose t slice select split chunk unbind expand unsqueeze
    squeeze narrow movedim unfold as_strided detach alias clone contiguous copy to roll flip repeat
    repeat_interleave concat stack index gather index_select scatter index_put tril triu one_hot pixel_shuffle
    pixel_unshuffle channel_shuffle im2col pad constant embedding upsample_nearest fill zero random
    index_fill view_as_real view_as_complex max_unpool
"""
FREE_OPS: frozenset[str] = frozenset(_FREE.split())
# Elementary operations per output element.
ELEMENTWISE_OPS: Mapping[str, int] = MappingProxyType(
    {
        name: operations
        for operations, names in {
            1: "add sub mul div neg abs exp log log2 log10 log1p expm1 sqrt rsqrt pow square reciprocal sin cos tan "
            "atan atan2 erf tanh sign floor ceil round trunc frac maximum minimum where remainder fmod "
            "masked_fill isnan isinf nan_to_num eq ne lt le gt ge logical_and logical_or logical_not logical_xor "
            "bitwise_and bitwise_or bitwise_not bitwise_xor relu threshold sinh cosh asin acos atanh asinh acosh "
            "erfc erfinv fmax fmin sgn signbit floor_divide bitwise_left_shift bitwise_right_shift rrelu "
            "dequantize",
            2: "hypot xlogy logit hardshrink softshrink clamp relu6 hardtanh prelu leaky_relu addcmul addcdiv "
            "dropout alpha_dropout feature_dropout feature_alpha_dropout batch_norm",
            3: "logaddexp elu selu celu lerp quantize",  # quantize: divide, round, clamp
            4: "sigmoid hardsigmoid softplus log_sigmoid",  # negate, exponential, add, divide; add, clamp twice, divide
            5: "silu hardswish gelu glu",  # a sigmoid's four and a product
            6: "mish",
            7: "upsample_bilinear grid_sample",  # four neighbours: 4 products, 3 sums
            31: "upsample_bicubic",  # sixteen neighbours
        }.items()
        for name in names.split()
    }
)
# Elementary operations per input element.
REDUCTION_OPS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "prod", "argmax", "argmin", "all", "any"), 1),
        "cumsum": 1, "embedding_bag": 1, "adaptive_avg_pool": 1, "adaptive_max_pool": 1, "topk": 1, "sort": 1,
        "col2im": 1,
        "linalg_vector_norm": 2, "var": 4, "std": 4, "var_mean": 4, "logsumexp": 3,
        "softmax": SOFTMAX, "log_softmax": SOFTMAX,
        "layer_norm": 6, "group_norm": 6, "instance_norm": 6,  # mean, variance (3), scale, shift
        "rms_norm": 4, "weight_norm": 4,  # square, sum, quotient, product
    }
)  # fmt: skip

# Flyweight's name of an operator -> aten's names. What isn't here is taken apart, or keeps its own name.
_SAME_NAME = """
    linear batch_norm instance_norm group_norm layer_norm rms_norm embedding embedding_bag lstm gru add sub
    mul div neg abs exp log log2 log10 log1p expm1 sqrt rsqrt pow square reciprocal sin cos tan atan atan2 erf
    tanh sign floor ceil round trunc frac maximum minimum clamp where lerp addcmul addcdiv remainder fmod
    masked_fill isnan isinf nan_to_num eq ne lt le gt ge logical_and logical_or logical_not logical_xor
    bitwise_and bitwise_or bitwise_not bitwise_xor relu relu6 hardtanh sigmoid silu hardswish hardsigmoid
    leaky_relu prelu elu selu celu gelu mish softplus log_sigmoid threshold glu softmax log_softmax mean sum
    amax amin max min prod var std var_mean argmax argmin all any cumsum logsumexp topk sort
    linalg_vector_norm view reshape flatten unflatten permute transpose t slice select split chunk unbind
    expand unsqueeze squeeze narrow movedim unfold as_strided detach alias dropout alpha_dropout
    feature_dropout feature_alpha_dropout clone contiguous copy to roll flip repeat repeat_interleave stack
    index gather index_select scatter index_put tril triu one_hot pixel_shuffle pixel_unshuffle
    channel_shuffle im2col col2im fill zero grid_sample sinh cosh asin acos atanh asinh acosh erfc erfinv
    logit fmax fmin hypot logaddexp xlogy sgn signbit floor_divide hardshrink softshrink bitwise_left_shift
    bitwise_right_shift rrelu index_fill view_as_real view_as_complex bilinear
"""
_RENAMED: Mapping[str, str] = {
    "conv": "convolution _convolution cudnn_convolution mkldnn_convolution",
    "matmul": "matmul mm bmm mv dot vdot addmm baddbmm addbmm addmv",
    "sdpa": "scaled_dot_product_attention _scaled_dot_product_flash_attention "
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_cudnn_attention _scaled_dot_product_attention_math "
    "_scaled_dot_product_fused_attention_overrideable",
    "batch_norm": "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm",
    "group_norm": "native_group_norm",
    "layer_norm": "native_layer_norm",
    "rnn": "rnn_tanh rnn_relu",
    "softmax": "_softmax",
    "log_softmax": "_log_softmax",
    "clamp": "clamp_min clamp_max",
    "concat": "cat",
    "pad": "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
    "replication_pad2d replication_pad3d",
    "max_pool": "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices max_pool2d_with_indices "
    "max_pool3d_with_indices",
    "avg_pool": "avg_pool1d avg_pool2d avg_pool3d",
    "adaptive_avg_pool": "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d",
    "adaptive_max_pool": "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
    "upsample_nearest": "upsample_nearest1d upsample_nearest2d upsample_nearest3d",
    "upsample_bilinear": "upsample_linear1d upsample_bilinear2d upsample_trilinear3d",
    "upsample_bicubic": "upsample_bicubic2d",
    "view": "_unsafe_view view_as _reshape_alias",
    "split": "split_with_sizes tensor_split unsafe_split unsafe_chunk unsafe_split_with_sizes",
    "sub": "rsub",
    "grid_sample": "grid_sampler_2d grid_sampler_3d",
    "max_unpool": "max_unpool2d max_unpool3d",
    "rrelu": "rrelu_with_noise",
    "weight_norm": "_weight_norm_interface",
    "dropout": "native_dropout",
    "random": "uniform normal random bernoulli exponential randperm multinomial",
    "bitwise_and": "__and__",
    "bitwise_or": "__or__",
    "bitwise_xor": "__xor__",
    "copy": "_to_copy",
    "constant": "zeros ones full empty arange eye linspace rand randn randint zeros_like ones_like full_like "
    "empty_like rand_like randn_like new_zeros new_ones new_full new_empty scalar_tensor lift_fresh",
}
OPERATORS: Mapping[str, str] = MappingProxyType(
    {f"aten.{name}": name for name in _SAME_NAME.split()}
    | {f"aten.{aten}": op for op, names in _RENAMED.items() for aten in names.split()}
    | {"aten.clone": "copy", "aten.contiguous": "copy", "aten.to": "copy", "aten.t": "transpose"}
)
DROPOUTS = frozenset({"aten.dropout", "aten.alpha_dropout", "aten.feature_dropout", "aten.feature_alpha_dropout"})
