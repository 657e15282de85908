//! Takes an experiment from `initiating` to its end.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Fis;
use super::catalogue::{self, duration_ms};
use super::experiment::{Experiment, Failure, Resolved, Status};
use super::log::ExperimentLog;
use super::template::{Action, Template};
use super::{State, permission, targets};
use crate::lambda::{Fault, FaultKind};

/// How often stop conditions are looked at. AWS reacts within about 10 s.
const STOP_CHECK_MS: i64 = 1_000;
/// AWS default of `startupDelayMilliseconds`.
const DELAY_DEFAULT_MS: i64 = 1_000;

/// Runs until the experiment is over; every fault is withdrawn on the way out.
pub(crate) async fn run(fis: Fis, id: String, stop: Arc<Notify>) {
    let mut log = begin(&fis, &id);
    while let Some(wake_ms) = step(&fis, &id, &mut log) {
        tokio::select! {
            () = fis.inner.settings.clock.sleep_until(wake_ms) => {}
            () = stop.notified() => {}
        }
    }
}

/// Resolves the targets and starts, or ends at once.
fn begin(fis: &Fis, id: &str) -> ExperimentLog {
    let now_ms = fis.now_ms();
    let mut log = ExperimentLog::default();
    let Some(template) = fis.state().experiments.get(id).map(|experiment| experiment.template.clone()) else {
        return log;
    };
    let resolved = resolve(fis, &template, id, &mut log);
    let alarm = alarm_that_stops(fis, &template);
    with(fis, id, |experiment| {
        if experiment.status.is_final() {
            return;
        }
        experiment.started_ms = Some(now_ms);
        match resolved {
            Err(failure) => fail(experiment, failure, now_ms),
            Ok(resolved) => {
                experiment.resolved = resolved;
                if experiment.skip_all {
                    for run in experiment.actions.values_mut() {
                        run.end(Status::Skipped, "Action was skipped: actionsMode is skip-all.", now_ms);
                    }
                    experiment.end(Status::Completed, "Experiment completed.", now_ms);
                } else if let Some(reason) = alarm {
                    experiment.ask_to_stop(&reason);
                } else if experiment.stop_reason.is_none() {
                    experiment.status = Status::Running;
                    experiment.reason = "Experiment is running.".into();
                }
            }
        }
    });
    log
}

/// The resources of all targets, or the first reason why not.
fn resolve(
    fis: &Fis,
    template: &Template,
    id: &str,
    log: &mut ExperimentLog,
) -> Result<Vec<Resolved>, Failure> {
    permission::check_start(fis, template, id)?;
    *log = ExperimentLog::open(fis, template, id)?;
    log.experiment_started(template, fis.now_ms());
    let mut all = Vec::new();
    for (name, target) in &template.targets {
        let found = targets::resolve(fis, template, name, target);
        log.target_resolved(name, target, &found, fis.now_ms());
        all.extend(found?);
    }
    Ok(all)
}

/// One look at everything. None when the experiment is over, else when to look again.
fn step(fis: &Fis, id: &str, log: &mut ExperimentLog) -> Option<i64> {
    let wake_ms = advance(fis, id, log);
    if let Some(experiment) = fis.state().experiments.get(id) {
        log.catch_up(experiment);
    }
    wake_ms
}

fn advance(fis: &Fis, id: &str, log: &mut ExperimentLog) -> Option<i64> {
    let now_ms = fis.now_ms();
    let template = fis.state().experiments.get(id)?.template.clone();
    let alarm = alarm_that_stops(fis, &template);
    let mut state = fis.state();
    let experiment = state.experiments.get_mut(id)?;
    if experiment.status.is_final() {
        return None;
    }
    if let Some(reason) = experiment.stop_reason.clone().or(alarm) {
        stop(fis, experiment, &reason, now_ms);
        return None;
    }
    let mut wake_ms = now_ms + STOP_CHECK_MS;
    // An action that ends lets others start in the same step; each pass ends or starts at least one.
    loop {
        let ended = end_due(fis, experiment, now_ms, &mut wake_ms);
        log.catch_up(experiment);
        let started = match start_ready(fis, experiment, now_ms) {
            Ok(started) => started,
            Err(failure) => {
                abandon(fis, experiment, now_ms);
                fail(experiment, failure, now_ms);
                return None;
            }
        };
        log.catch_up(experiment);
        if !ended && !started {
            break;
        }
    }
    if experiment.actions.values().all(|run| run.status.is_final()) {
        experiment.end(Status::Completed, "Experiment completed.", now_ms);
        return None;
    }
    Some(wake_ms)
}

fn end_due(fis: &Fis, experiment: &mut Experiment, now_ms: i64, wake_ms: &mut i64) -> bool {
    let mut any = false;
    for (name, run) in &mut experiment.actions {
        if run.status != Status::Running {
            continue;
        }
        let action = experiment.template.actions.get(name);
        let length_ms =
            action.and_then(|action| action.parameters.get("duration")).and_then(|text| duration_ms(text));
        let ends_ms = run.started_ms.unwrap_or(now_ms) + length_ms.unwrap_or(0);
        if ends_ms <= now_ms {
            fis.inner.lambda.faults().withdraw(&fault_id(&experiment.id, name));
            run.end(Status::Completed, "Action was completed.", now_ms);
            any = true;
        } else {
            *wake_ms = (*wake_ms).min(ends_ms);
        }
    }
    any
}

fn start_ready(fis: &Fis, experiment: &mut Experiment, now_ms: i64) -> Result<bool, Failure> {
    let done = |experiment: &Experiment, name: &String| {
        let run = experiment.actions.get(name);
        run.is_some_and(|run| matches!(run.status, Status::Completed | Status::Skipped))
    };
    let ready: Vec<(String, Action)> = experiment
        .template
        .actions
        .iter()
        .filter(|(name, _)| experiment.actions.get(*name).is_some_and(|run| run.status == Status::Pending))
        .filter(|(_, action)| action.start_after.iter().all(|before| done(experiment, before)))
        .map(|(name, action)| (name.clone(), action.clone()))
        .collect();
    for (name, action) in &ready {
        if !action.targets.is_empty() && targets_of(experiment, action).next().is_none() {
            if let Some(run) = experiment.actions.get_mut(name) {
                run.end(Status::Skipped, "Action was skipped: its target resolved to nothing.", now_ms);
            }
            continue;
        }
        let outcome = start(fis, experiment, name, action, now_ms);
        if let Some(run) = experiment.actions.get_mut(name) {
            run.started_ms = Some(now_ms);
            run.status = Status::Running;
            run.reason = "Action is running.".into();
            if let Err(failure) = &outcome {
                run.end(Status::Failed, &failure.reason, now_ms);
            }
        }
        outcome?;
    }
    Ok(!ready.is_empty())
}

fn start(
    fis: &Fis,
    experiment: &Experiment,
    name: &str,
    action: &Action,
    now_ms: i64,
) -> Result<(), Failure> {
    let failure = |code, reason: String| Failure { code, location: name.to_owned(), reason };
    match action.action_id.as_str() {
        catalogue::WAIT => Ok(()),
        catalogue::ASSERT_ALARM => {
            let parameter = |key: &str| action.parameters.get(key).map(String::as_str).unwrap_or_default();
            permission::check_alarms(fis, &experiment.template, name)?;
            let wanted: Vec<&str> = parameter("alarmStates").split(',').collect();
            for arn in parameter("alarmArns").split(',') {
                let found = fis.alarm_state(arn).unwrap_or_else(|| "missing".into());
                if !wanted.contains(&found.as_str()) {
                    let reason = format!("Alarm {arn} is {found}, expected one of {}.", wanted.join(", "));
                    return Err(failure("ConfigurationFailure", reason));
                }
            }
            Ok(())
        }
        _ => {
            for resolved in targets_of(experiment, action) {
                let found = fis.inner.lambda.fault_target(&resolved.name, resolved.qualifier.as_deref());
                // It was there when the targets were resolved.
                let Some(found) = found else {
                    let qualifier = resolved.qualifier.as_ref().map(|qualifier| format!(":{qualifier}"));
                    let qualifier = qualifier.unwrap_or_default();
                    let reason = format!("The function {}{qualifier} was not found.", resolved.name);
                    return Err(failure("ConfigurationFailure", reason));
                };
                let location = found.configuration_location;
                let Some(location) = location.filter(|location| location.starts_with("arn:aws:s3:::")) else {
                    let reason = format!(
                        "The function {} has no S3 ARN in AWS_FIS_CONFIGURATION_LOCATION.",
                        resolved.name
                    );
                    return Err(failure("ConfigurationFailure", reason));
                };
                permission::check_fault(fis, &experiment.template, name, resolved, &location)?;
                let fault = fault(&experiment.id, name, action, now_ms)
                    .ok_or_else(|| failure("InternalFailure", "The action is not valid.".into()))?;
                let fault = Fault { qualifier: resolved.qualifier.clone(), ..fault };
                fis.inner.lambda.faults().inject(&resolved.name, fault);
            }
            Ok(())
        }
    }
}

/// What the targets of the action turned out to be.
fn targets_of<'a>(experiment: &'a Experiment, action: &'a Action) -> impl Iterator<Item = &'a Resolved> {
    let is_meant = move |found: &&Resolved| action.targets.values().any(|target| *target == found.target);
    experiment.resolved.iter().filter(is_meant)
}

/// The parameters were checked when the template was made.
fn fault(experiment: &str, name: &str, action: &Action, now_ms: i64) -> Option<Fault> {
    let parameter = |key: &str| action.parameters.get(key).map(String::as_str);
    let known = catalogue::find(&action.action_id)?;
    let prevent_execution = parameter("preventExecution") == Some("true");
    let kind = match known.id {
        catalogue::DELAY => FaultKind::Delay {
            delay_ms: parameter("startupDelayMilliseconds")
                .map_or(Some(DELAY_DEFAULT_MS), |text| text.parse().ok())?,
        },
        catalogue::ERROR => FaultKind::Error { prevent_execution },
        catalogue::HTTP_RESPONSE => FaultKind::HttpResponse {
            prevent_execution,
            status_code: parameter("statusCode")?.parse().ok()?,
            content_type: parameter("contentTypeHeader")?.to_owned(),
        },
        _ => return None,
    };
    Some(Fault {
        id: fault_id(experiment, name),
        action_id: known.id,
        kind,
        percentage: parameter("invocationPercentage").map_or(Some(100), |text| text.parse().ok())?,
        starts_ms: now_ms,
        ends_ms: now_ms + duration_ms(parameter("duration")?)?,
        qualifier: None,
    })
}

fn fault_id(experiment: &str, action: &str) -> String {
    format!("{experiment}/{action}")
}

fn stop(fis: &Fis, experiment: &mut Experiment, reason: &str, now_ms: i64) {
    abandon(fis, experiment, now_ms);
    experiment.end(Status::Stopped, reason, now_ms);
}

/// Ends what runs and cancels what has not begun.
fn abandon(fis: &Fis, experiment: &mut Experiment, now_ms: i64) {
    for (name, run) in &mut experiment.actions {
        match run.status {
            Status::Running => {
                fis.inner.lambda.faults().withdraw(&fault_id(&experiment.id, name));
                run.end(Status::Stopped, "Action was stopped.", now_ms);
            }
            Status::Pending => run.end(Status::Cancelled, "Action was cancelled.", now_ms),
            _ => {}
        }
        // An action that failed half-way may have put faults into some of its functions.
        fis.inner.lambda.faults().withdraw(&fault_id(&experiment.id, name));
    }
}

fn fail(experiment: &mut Experiment, failure: Failure, now_ms: i64) {
    for run in experiment.actions.values_mut().filter(|run| run.status == Status::Pending) {
        run.end(Status::Cancelled, "Action was cancelled.", now_ms);
    }
    let reason = failure.reason.clone();
    experiment.failure = Some(failure);
    experiment.end(Status::Failed, &reason, now_ms);
}

/// A stop condition in ALARM, or one whose alarm does not exist: on AWS the experiment could not have started with it.
fn alarm_that_stops(fis: &Fis, template: &Template) -> Option<String> {
    template.stop_conditions.iter().filter_map(|condition| condition.value.as_ref()).find_map(|arn| match fis
        .alarm_state(arn)
        .as_deref()
    {
        Some("ALARM") => Some(format!("Experiment stopped by stop condition: {arn} is in ALARM.")),
        Some(_) => None,
        None => Some(format!("Experiment stopped: the alarm {arn} does not exist.")),
    })
}

fn with(fis: &Fis, id: &str, change: impl FnOnce(&mut Experiment)) {
    let mut state = fis.state();
    let State { experiments, .. } = &mut *state;
    if let Some(experiment) = experiments.get_mut(id) {
        change(experiment);
    }
}
