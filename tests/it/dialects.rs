//! The contracts of other systems, row by row, over real sockets and real containers.

#[path = "dialects/bharatbuild.rs"]
mod bharatbuild;
#[path = "dialects/builder.rs"]
mod builder;
#[path = "dialects/daiv.rs"]
mod daiv;
#[path = "dialects/networks.rs"]
mod networks;
#[path = "dialects/node.rs"]
mod node;
#[path = "dialects/socket.rs"]
mod socket;
#[path = "dialects/terminal_server.rs"]
mod terminal_server;
#[path = "dialects/xterm.rs"]
mod xterm;
