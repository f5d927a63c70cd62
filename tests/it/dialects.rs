//! The contracts of other systems, row by row, over real sockets and real containers: a suite
//! for each, which says what part of its contract is pinned where. What `conflicts.md` decides
//! between them is in the suite whose route it is; `containers` and `side_by_side` have the
//! rows that are about several.

#[path = "dialects/bharatbuild.rs"]
mod bharatbuild;
#[path = "dialects/builder.rs"]
mod builder;
#[path = "dialects/containers.rs"]
mod containers;
#[path = "dialects/daiv.rs"]
mod daiv;
#[path = "dialects/node.rs"]
mod node;
#[path = "dialects/side_by_side.rs"]
mod side_by_side;
#[path = "dialects/socket.rs"]
mod socket;
#[path = "dialects/terminal_server.rs"]
mod terminal_server;
#[path = "dialects/xterm.rs"]
mod xterm;

use std::sync::LazyLock;

/// Whether the images that take long to build are there, as in a soak.
static HAS_ALL: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("SANDTREE_ALL_IMAGES").is_some());
