//! 4.2, the container: what it is made of, and the floor that `conflicts.md` puts under it.

use sandtree_testkit::docker::docker;
use serde_json::{Value, json};

use super::{Project, detail};
use crate::support::{Project as Native, server};

#[tokio::test]
async fn a_container_is_as_listed_on_the_floor_of_every_sandbox() {
    let server = server().env("SANDTREE_PROFILES__BUILDER__STOP_GRACE", "1s").start().await;
    let client = server.client();
    let project = Project::create(&client, "demo").await;
    let started = project.post("runtime/start", &json!({})).await.expect(200).json();
    assert_eq!(started["image"], "python:3.11-slim");
    let id = started["container_id"].as_str().expect("a container");
    let inspected = docker(&["inspect", id]).expect("the container that it says");
    let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
    let (config, host) = (&inspected[0]["Config"], &inspected[0]["HostConfig"]);
    let memory = 2_u64 * 1024 * 1024 * 1024;
    for (what, found, wanted) in [
        ("--memory 2g", &host["Memory"], json!(memory)),
        ("no swap", &host["MemorySwap"], json!(memory)),
        ("--cpus 2.0", &host["NanoCpus"], json!(2_000_000_000_u64)),
        ("CPU weight", &host["CpuShares"], json!(2048)),
        ("processes", &host["PidsLimit"], json!(512)),
        ("network default", &host["NetworkMode"], json!("bridge")),
        ("-w /workspace", &config["WorkingDir"], json!("/workspace")),
        ("writable root", &host["ReadonlyRootfs"], json!(false)),
        ("no capabilities", &host["CapDrop"], json!(["ALL"])),
        ("not privileged", &host["Privileged"], json!(false)),
    ] {
        assert_eq!(*found, wanted, "{what}");
    }
    assert!(host["CapAdd"].as_array().is_none_or(Vec::is_empty), "{}", host["CapAdd"]);
    let options = host["SecurityOpt"].to_string();
    assert!(options.contains("no-new-privileges") && options.contains("seccomp="), "{options}");
    let user = config["User"].as_str().expect("a user");
    let (uid, gid) = user.split_once(':').expect("numbers for user and group");
    assert!(uid.parse::<u32>().expect("a number") > 0 && gid.parse::<u32>().is_ok(), "{user}");
    let native = Native::existing(&client, "demo").show().await;
    for timeout in ["idle_timeout", "max_lifetime"] {
        assert_eq!(native[timeout], "never", "{timeout}");
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_an_error_of_docker() {
    let image = "localhost:9/nobody/nothing:1";
    let server = server().env("SANDTREE_PROFILES__BUILDER__IMAGE", image).start().await;
    let project = Project::create(&server.client(), "demo").await;
    let refused = project.post("runtime/start", &json!({})).await.expect(500);
    assert!(detail(&refused).contains(image), "{}", refused.text());
}
