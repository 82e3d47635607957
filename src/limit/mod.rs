//! Token buckets: a leaf, pure.
