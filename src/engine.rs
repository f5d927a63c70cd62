//! Adapters for [`sandtree_actors::ports::Engine`]: what creates and runs the
//! containers of sandboxes.

pub mod docker;
