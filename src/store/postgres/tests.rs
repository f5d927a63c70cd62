use sandtree_testkit::TestPostgres;

use super::*;
use crate::store::contract::{self, OWNERS};

fn config(url: String) -> PostgresConfig {
    let bounds = Bounds { owners: OWNERS, ..Bounds::default() };
    PostgresConfig { bounds, ..PostgresConfig::new(url) }
}

async fn open() -> (Postgres, TestPostgres) {
    let server = TestPostgres::start().await;
    (Postgres::open(config(server.url())).await.unwrap(), server)
}

contract::holds!(open);
