use sandtree_wire::*;

use crate::server::*;

#[tokio::test]
async fn what_the_ring_has_lost_is_told_as_a_gap() {
    let mut sandbox = Sandbox::start().await;
    let spec = JobSpec { ring_bytes: 16 * 1024, ..process(1, "seq 1 20000") };
    let state = sandbox.start_job(spec).await;
    let ended = sandbox.job_ended().await;
    let written: String = (1..=20000).map(|number| format!("{number}\n")).collect();
    assert_eq!(ended.end, written.len() as u64);
    assert!(ended.end - ended.kept_from <= 16 * 1024);
    let mut attached = sandbox.attach(&state, 100).await;
    assert_eq!(attached.until_end().await, ExitStatus::Code(0));
    assert_eq!(attached.gaps, [(100, ended.kept_from)]);
    let kept = usize::try_from(ended.kept_from).unwrap();
    assert_eq!(attached.text(), written[kept..]);
}

#[tokio::test]
async fn a_reader_that_stands_still_is_overtaken_and_told() {
    let mut sandbox = Sandbox::start().await;
    let spec = JobSpec { ring_bytes: 64 * 1024, ..process(1, "read go; seq 1 500000; read end") };
    let state = sandbox.start_job(spec).await;
    let mut slow = sandbox.attach(&state, 0).await;
    let mut quick = sandbox.attach(&state, 0).await;
    quick.type_in("go\n").await;
    quick.until("500000\n").await;
    // The socket's buffer bridges a part; what came after that is gone.
    quick.type_in("end\n").await;
    quick.until_end().await;
    slow.until_end().await;
    let lost: u64 = slow.gaps.iter().map(|(from, to)| to - from).sum();
    assert!(!slow.gaps.is_empty() && lost + slow.output.len() as u64 == slow.next);
}

#[tokio::test]
async fn a_job_that_may_lose_nothing_waits_for_the_server() {
    let mut sandbox = Sandbox::start().await;
    let script = "seq 1 100000";
    let spec = JobSpec { ring_bytes: 32 * 1024, block_when_full: true, ..process(1, script) };
    let state = sandbox.start_job(spec).await;
    sandbox.restart_server().await;
    let mut attached = sandbox.attach(&state, 0).await;
    let mut durable = 0;
    let status = loop {
        match attached.step().await {
            Some(status) => break status,
            None if attached.next >= durable + 8 * 1024 => {
                durable = attached.next;
                let request = Request::Durable { job: Job::Process, epoch: 1, offset: durable };
                sandbox.ask(request).await;
            }
            None => {}
        }
    };
    assert_eq!(status, ExitStatus::Code(0));
    let written: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
    assert!(attached.text() == written && attached.gaps.is_empty());
}

#[tokio::test]
async fn several_attaches_see_the_same_and_each_may_write() {
    let mut sandbox = Sandbox::start().await;
    let state = sandbox.start_job(process(1, "read a; echo $a; read b; echo $b")).await;
    let mut one = sandbox.attach(&state, 0).await;
    let mut two = sandbox.attach(&state, 0).await;
    one.type_in("from one\n").await;
    two.until("from one\n").await;
    two.type_in("from two\n").await;
    for attached in [&mut one, &mut two] {
        assert_eq!(attached.until_end().await, ExitStatus::Code(0));
        assert_eq!(attached.text(), "from one\nfrom two\n");
    }
}

#[tokio::test]
async fn another_start_of_a_job_is_unknown() {
    let mut sandbox = Sandbox::start().await;
    sandbox.start_job(process(2, "sleep 1000")).await;
    for (job, epoch) in [(Job::Process, 1), (Job::Process, 3), (Job::Terminal, 2)] {
        let mut connection = sandbox.open(Stream::Attach { job, epoch, from: 0 }).await;
        let mut buffer = Vec::new();
        let event: AttachEvent =
            soon("an answer", read_message(&mut connection, &mut buffer)).await.unwrap();
        assert_eq!(event, AttachEvent::Unknown);
    }
}
