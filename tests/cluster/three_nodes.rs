//! The deployment for three machines in `examples/three_nodes`.
