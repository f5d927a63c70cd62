//! The contracts of other systems, row by row, over real sockets and real containers.

#[path = "dialects/bharatbuild.rs"]
mod bharatbuild;
