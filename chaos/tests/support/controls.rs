//! Positive controls: services that are broken on purpose, each with the experiment that must catch it.

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};

use super::{Stack, Worker};

/// How a service is broken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Break {
    /// `TASKS_SABOTAGE` of the worker that is wrong on purpose.
    Worker(&'static str),
    /// `maxReceiveCount` of the tasks queue, which the stack says is another.
    MaxReceiveCount(u32),
    /// The service is well; the experiment itself breaks its promise.
    Nothing,
}

/// How the experiment shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shown {
    /// Of a task, whose counterexample is of this kind.
    OfTask(&'static str),
    /// By this check alone: no task is blamed.
    ByCheck(&'static str),
}

#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) name: &'static str,
    breaks: Break,
    /// The experiment that is meant for it.
    caught_by: &'static str,
    shown_as: Shown,
    /// Whatever else this defect does to a task; nothing else may be claimed.
    also: &'static [&'static str],
    /// An experiment in which this defect has no occasion to show, and which must pass.
    spared_by: Option<&'static str>,
}

const WITHOUT_FAILURES: Option<&str> = Some("mapping-disabled");

pub(crate) const ALL: [Control; 10] = [
    Control {
        name: "drops one task in twenty",
        breaks: Break::Worker("drop:20"),
        caught_by: "baseline",
        shown_as: Shown::OfTask("lost"),
        also: &["missing-dead-letter"],
        spared_by: None,
    },
    Control {
        name: "acknowledges before the effect",
        breaks: Break::Worker("ack-before-effect"),
        caught_by: "baseline",
        shown_as: Shown::OfTask("lost"),
        also: &["missing-dead-letter"],
        spared_by: WITHOUT_FAILURES,
    },
    Control {
        name: "completes twice",
        breaks: Break::Worker("double-effect"),
        caught_by: "baseline",
        shown_as: Shown::OfTask("duplicate-effect"),
        also: &["illegal-history", "missed-push"],
        spared_by: None,
    },
    Control {
        name: "swallows poison as success",
        breaks: Break::Worker("swallow-poison"),
        caught_by: "baseline",
        shown_as: Shown::OfTask("lost"),
        also: &["missing-dead-letter"],
        spared_by: WITHOUT_FAILURES,
    },
    Control {
        name: "loses on redrive",
        breaks: Break::Worker("lose-on-redrive"),
        caught_by: "dead-letters-return",
        shown_as: Shown::OfTask("lost"),
        also: &["missing-dead-letter"],
        spared_by: Some("baseline"),
    },
    Control {
        name: "forgets to push",
        breaks: Break::Worker("forget-push"),
        caught_by: "baseline",
        shown_as: Shown::OfTask("missed-push"),
        also: &[],
        spared_by: None,
    },
    Control {
        name: "pushes to another owner as well",
        breaks: Break::Worker("stray-push"),
        caught_by: "baseline",
        shown_as: Shown::ByCheck("pushes reach their owner only"),
        also: &[],
        spared_by: None,
    },
    Control {
        name: "gives up after two receives",
        breaks: Break::MaxReceiveCount(2),
        caught_by: "baseline",
        shown_as: Shown::OfTask("receive-count"),
        also: &[],
        spared_by: WITHOUT_FAILURES,
    },
    Control {
        name: "tries again without back-off",
        breaks: Break::Worker("no-backoff"),
        caught_by: "client-mischief",
        shown_as: Shown::OfTask("eager-retry"),
        also: &[],
        spared_by: Some("baseline"),
    },
    Control {
        name: "answers its consumer's batches with an HTTP response, which says nothing of failures",
        breaks: Break::Nothing,
        caught_by: "controls/worker-answers-replaced",
        shown_as: Shown::OfTask("lost"),
        also: &["missing-dead-letter"],
        spared_by: None,
    },
];

/// The broken service fails the experiment that is meant for it, for its own reason, and no other.
pub(crate) async fn is_caught(stack: &Stack, control: &Control) {
    let mended = break_it(stack, control.breaks).await;
    let caught = stack.experiment(control.caught_by, "8");
    let spared = control.spared_by.map(|name| stack.experiment(name, "9"));
    mended.mend().await;
    must_be_caught(control, &caught);
    if let Some((code, entry)) = spared {
        assert_eq!((code, &entry["verdict"]), (0, &json!("PASS")), "{}: {entry:#}", control.name);
    }
}

/// A worker that dies in the middle is a fault and no defect: with it the service must pass.
pub(crate) async fn a_crashing_worker_is_survived(stack: &Stack) {
    let mended = break_it(stack, Break::Worker("crash:40")).await;
    let (code, entry) = stack.experiment("test-build/worker-crashes", "10");
    mended.mend().await;
    assert_eq!((code, &entry["verdict"]), (0, &json!("PASS")), "{entry:#}");
}

/// Functions that learn of a fault when it is over are not tried by it, however well everything else looks. The stack's faults
/// must ramp up and down.
pub(crate) async fn a_fault_that_nobody_meets_is_no_pass(stack: &Stack) {
    // Seconds: what has looked for faults once looks again when all of this is over.
    Worker::of(stack).await.set_variable("AWS_FIS_SLOW_POLL_INTERVAL_SECONDS", Some("3600")).await;
    let (code, entry) = stack.experiment("baseline", "11");
    assert_eq!((code, &entry["verdict"]), (0, &json!("PASS")), "{entry:#}");
    let (code, entry) = stack.experiment("worker-slow", "12");
    assert_eq!((code, &entry["verdict"]), (3, &json!("INCONCLUSIVE")), "{entry:#}");
    let checks = entry["checks"].as_array().unwrap().iter();
    for check in checks.filter(|check| check["outcome"] != "held") {
        assert!(check["name"].as_str().unwrap().starts_with("dose of fis-invocation-delay"), "{check:#}");
    }
}

fn must_be_caught(control: &Control, (code, entry): &(i32, Value)) {
    assert_eq!((*code, &entry["verdict"]), (1, &json!("FAIL")), "{}: {entry:#}", control.name);
    match control.shown_as {
        Shown::OfTask(kind) => must_be_told(control, kind, entry),
        Shown::ByCheck(check) => must_be_all_that_is_wrong(control, check, entry),
    }
}

fn must_be_told(control: &Control, kind_shown: &str, entry: &Value) {
    let name = control.name;
    let shown = &entry["counterexample"];
    assert_eq!(shown["kind"], json!(kind_shown), "{name}: {shown:#}");
    let told_by_client =
        shown["timeline"].as_array().unwrap().iter().any(|event| event["source"] == "client");
    assert!(told_by_client, "{name}: the story must begin with the client: {shown:#}");
    let anomalies = entry["anomalies"].as_array().unwrap();
    let task = &shown["task_id"];
    assert!(anomalies.iter().any(|anomaly| &anomaly["task_id"] == task), "{name}: {shown:#}");
    for anomaly in anomalies {
        let kind = anomaly["kind"].as_str().unwrap();
        assert!(kind == kind_shown || control.also.contains(&kind), "{name}: {anomaly:#}");
    }
}

fn must_be_all_that_is_wrong(control: &Control, check_broken: &str, entry: &Value) {
    let name = control.name;
    let checks = entry["checks"].as_array().unwrap().iter();
    let open: Vec<(&str, &str)> = checks
        .map(|check| (check["name"].as_str().unwrap(), check["outcome"].as_str().unwrap()))
        .filter(|(_, outcome)| *outcome != "held")
        .collect();
    assert_eq!(open, [(check_broken, "broken")], "{name}: {entry:#}");
    assert_eq!((&entry["anomalies"], &entry["counterexample"]), (&json!([]), &Value::Null), "{name}");
}

/// The way back.
enum Mended<'a> {
    Worker { worker: Worker, stack: &'a Stack },
    Queue { queue: Queue, policy: String },
    Nothing,
}

async fn break_it(stack: &Stack, breaks: Break) -> Mended<'_> {
    match breaks {
        Break::Worker(mode) => {
            let worker = Worker::of(stack).await;
            worker.sabotage(Some(mode)).await;
            worker.replace(zip(stack, "process-task-sabotaged")).await;
            Mended::Worker { worker, stack }
        }
        Break::MaxReceiveCount(count) => {
            let queue = Queue::of(stack).await;
            let policy = queue.redrive_policy().await;
            let mut broken: Value = serde_json::from_str(&policy).unwrap();
            broken["maxReceiveCount"] = json!(count);
            queue.set_redrive_policy(&broken.to_string()).await;
            Mended::Queue { queue, policy }
        }
        Break::Nothing => Mended::Nothing,
    }
}

impl Mended<'_> {
    async fn mend(self) {
        match self {
            Self::Worker { worker, stack } => {
                worker.replace(zip(stack, "process-task")).await;
                worker.sabotage(None).await;
            }
            Self::Queue { queue, policy } => queue.set_redrive_policy(&policy).await,
            Self::Nothing => {}
        }
    }
}

fn zip(stack: &Stack, name: &str) -> Vec<u8> {
    let path = stack.root.join("target/lambda").join(name).with_extension("zip");
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: `make controls` builds it", path.display()))
}

struct Queue {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    async fn of(stack: &Stack) -> Self {
        let url = stack.description()["queues"]["tasks"]["url"].as_str().unwrap().to_owned();
        Self { sqs: stack.cloud().await.sqs, url }
    }

    async fn redrive_policy(&self) -> String {
        let name = QueueAttributeName::RedrivePolicy;
        let call = self.sqs.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        call.send().await.unwrap().attributes().unwrap()[&name].clone()
    }

    async fn set_redrive_policy(&self, policy: &str) {
        let call = self.sqs.set_queue_attributes().queue_url(&self.url);
        call.attributes(QueueAttributeName::RedrivePolicy, policy).send().await.unwrap();
    }
}
