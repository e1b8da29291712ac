//! Tensors, and the operations on them. An operation checks its arguments once, then runs where its tensors lie.
//!
//! `no_std` + `alloc`, tensors on the host only; feature `std`, on by default, adds what it adds to `latens-cpu`, and
//! feature `cuda`, which needs it, tensors on GPUs.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
mod act;
mod attention;
mod conv1d;
mod conv2d;
mod embed;
mod entropy;
mod hyper;
mod linear;
mod loss;
mod lowrank;
mod map;
mod memory;
mod norm;
mod optim;
mod pool;
mod quant;
mod reduce;
mod resize;
mod rope;
mod sae;
mod scan;
mod segments;
mod sparsify;
mod ssd;
mod tensor;
mod topk;
mod view;

pub use act::{Act, act_backward, act_backward_into, act_into, gated, gated_backward, gelu, silu};
pub use attention::{
    Attention, AttentionGradients, AttentionGradientsMut, attention, attention_backward, attention_backward_into,
    attention_backward_workspace, attention_into,
};
pub use conv1d::{
    Conv1d, Conv1dGradients, Conv1dGradientsMut, conv1d, conv1d_backward, conv1d_backward_into,
    conv1d_backward_workspace, conv1d_into, conv1d_step_into, conv1d_workspace,
};
pub use conv2d::{conv2d, conv2d_backward, conv2d_backward_into, conv2d_backward_workspace, conv2d_into};
pub use embed::{
    embed, embed_backward, embed_backward_into, embed_backward_workspace, embed_into, gather_rows, gather_rows_into,
};
pub use entropy::{Entropy, EntropySettings, Estimator, Sampling, entropy, entropy_into, entropy_workspace};
pub use hyper::{
    Compressed, Convolution, Copied, Degree, Hypergraph, Incidence, Walk, Weigh, hyper_compress, hyper_compress_into,
    hyper_convolution, hyper_convolve, hyper_convolve_backward, hyper_degree, hyper_degree_into, hyper_dots,
    hyper_dots_into, hyper_incidence_into, hyper_incidence_workspace, hyper_largest, hyper_largest_backward,
    hyper_largest_backward_into, hyper_largest_into, hyper_pool, hyper_pool_into, hyper_rank, hyper_rank_into,
    hyper_rank_workspace, hyper_search, hyper_search_compressed, hyper_search_compressed_into,
    hyper_search_compressed_workspace, hyper_search_into, hyper_search_workspace, hyper_topk, hyper_topk_into,
    hyper_transpose_into, hyper_transpose_workspace, hyper_weigh, hyper_weigh_backward, hyper_weigh_backward_into,
    hyper_weigh_into,
};
pub use latens_kernels::attention::Mask;
pub use latens_kernels::conv2d::Conv2d;
pub use latens_kernels::hyper::Shape as IncidenceShape;
pub use latens_kernels::optim::AdamW;
pub use latens_kernels::optim::clip::PARTS as CLIP_PARTS;
pub use latens_kernels::optim::signum::Signum;
pub use latens_kernels::pool::Window;
pub use latens_kernels::resize::Filter;
pub use latens_kernels::route::Order;
pub use latens_kernels::sae::Shape;
pub use latens_kernels::{
    Accumulate, DType, Element, Error, Float, Layout, Philox, Result, Segment, Segments, bf16, f16,
};
pub use linear::{linear, linear_backward, linear_backward_into, linear_into};
pub use loss::{
    IGNORED, cross_entropy, cross_entropy_backward, cross_entropy_backward_in_place, cross_entropy_backward_into,
    cross_entropy_into, mse, mse_backward, mse_backward_into, mse_into,
};
pub use lowrank::{
    lowrank_left, lowrank_left_into, lowrank_orthogonalise, lowrank_orthogonalise_into,
    lowrank_orthogonalise_workspace, lowrank_quantise, lowrank_quantise_into, lowrank_resize, lowrank_resize_into,
    lowrank_restore, lowrank_restore_into, lowrank_right, lowrank_right_into, lowrank_sum, lowrank_sum_into,
};
pub use map::{add_into, cast, cast_into, copy_into, scale_into};
#[cfg(feature = "std")]
pub use memory::kept::keep_memory;
pub use norm::{
    BatchNorm, batch_norm, batch_norm_backward, batch_norm_backward_into, batch_norm_backward_workspace, batch_norm_by,
    batch_norm_by_into, batch_norm_into, layer_norm, layer_norm_backward, layer_norm_backward_into, layer_norm_into,
    norm_backward_workspace, rms_norm, rms_norm_backward, rms_norm_backward_into, rms_norm_into,
};
pub use optim::{
    adamw_into, adamw_scheduled_into, adamw8_into, advance_into, clip_scale_into, clip_squares_into, decoder_step_into,
    decoder_step_scheduled_into, signum_into,
};
pub use pool::{
    average_pool, average_pool_backward, average_pool_backward_into, average_pool_into, max_pool, max_pool_backward,
    max_pool_backward_into, max_pool_into,
};
pub use quant::{
    Format, QuantSettings, Quantised, QuantisedMut, Rounding, dequant, dequant_into, pack, quant, quant_head,
    quant_into, quant_message, quant_read_into, quant_sum, quant_sum_into, quant_write, quant_write_into,
};
pub use reduce::{
    ClassMoments, ClassMomentsMut, Reduce, class_moments, class_moments_into, class_moments_workspace, moments,
    moments_backward, moments_backward_into, moments_into, pearson, pearson_backward, pearson_backward_into,
    pearson_into, reduce, reduce_into,
};
pub use resize::{Resize, resize, resize_backward, resize_backward_into, resize_into, resize_workspace};
pub use rope::{Pairing, rope_backward_into, rope_into};
pub use sae::{
    Against, Code, Codes, Decoded, Gradients, Penalty, Push, SaeGate, sae_backward, sae_backward_into,
    sae_backward_workspace, sae_bias, sae_bias_backward, sae_bias_backward_into, sae_bias_backward_workspace,
    sae_bias_into, sae_dead_into, sae_decode, sae_decode_into, sae_decode_workspace, sae_encode, sae_encode_flat,
    sae_encode_flat_into, sae_encode_flat_workspace, sae_encode_into, sae_encode_subset, sae_encode_subset_into,
    sae_encode_subset_workspace, sae_encode_threshold, sae_encode_threshold_into, sae_encode_threshold_workspace,
    sae_encode_workspace, sae_gate, sae_gate_backward_into, sae_gate_backward_workspace, sae_gate_into, sae_slopes,
    sae_slopes_into, sae_track_into, sae_weights_backward_into, sparse_pays,
};
pub use scan::{
    Scan, ScanGradients, ScanGradientsMut, Taps, scan, scan_backward, scan_backward_into, scan_backward_workspace,
    scan_into, scan_step_into, scan_workspace,
};
pub use segments::SegmentTable;
pub use sparsify::{Packet, sparsify, sparsify_into, sparsify_sum, sparsify_sum_into, sparsify_workspace};
pub use ssd::{
    Ssd, SsdGradients, SsdGradientsMut, ssd, ssd_backward, ssd_backward_into, ssd_backward_workspace, ssd_into,
    ssd_step_into, ssd_workspace,
};
pub use tensor::{Device, Tensor};
pub use topk::{topk, topk_flat, topk_flat_into, topk_flat_workspace, topk_into, topk_workspace};
pub use view::{Data, DataMut, View, ViewMut};
#[cfg(feature = "cuda")]
pub use {latens_cuda as cuda, latens_kernels::Span, latens_kernels::SpanMut};
