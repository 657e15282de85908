//! Alarms: kept, read back, and evaluated.

mod actions;
mod alarm;
mod composite;
mod definition;
mod history;
mod reason;
mod rule;
mod standing;
mod watched;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

pub use self::actions::Functions;
use self::actions::{Invoker, Scene};
use self::alarm::Alarm;
use self::composite::{Cause, Composite, CompositeDefinition, Sight};
use self::definition::Definition;
use self::history::{AlarmKind, History, Item};
use self::rule::{Place, Rule};
use self::standing::{Standing, Verdict};
use super::evaluate::State;
use super::failure::Failure;
use super::request::{integer, list, metric, required_text, text, texts, token};
use super::statistic::MetricStat;
use crate::pages;
use crate::repeatable;
use crate::settings::Settings;

/// The default quota of an account and Region.
const ALARMS_MAX: usize = 5_000;
/// "Any single alarm can be included in the rule expressions of as many as 150 composite alarms."
const PARENTS_MAX: usize = 150;
/// Of rules after one change: paths through composite alarms of composite alarms may be very many.
const EVALUATIONS_MAX: usize = 10_000;
const RECORDS_DEFAULT: usize = 50;
const RECORDS_MAX: i64 = 100;

/// Members of DescribeAlarms beside which there are no others but those of pages.
const RELATIVES: [&str; 2] = ["ChildrenOfAlarmName", "ParentsOfAlarmName"];
const SELECTORS: [&str; 5] = ["AlarmNames", "AlarmNamePrefix", "AlarmTypes", "StateValue", "ActionPrefix"];

/// What sorts the alarms of a list.
type Key<'a> = (AlarmKind, &'a str);
/// How an alarm is shown in one.
type Show = fn(&Alarms, &str) -> Option<Value>;

/// The alarms of the account. No name is in both maps.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    by_name: BTreeMap<String, Alarm>,
    composites: BTreeMap<String, Composite>,
    history: History,
    invoker: Invoker,
    /// Told when actions begin to be held back until some time.
    held_back: Arc<Notify>,
}

impl Alarms {
    pub(super) fn set_functions(&mut self, functions: Arc<dyn Functions>) {
        self.invoker = Invoker(Some(functions));
    }

    pub(super) fn held_back(&self) -> Arc<Notify> {
        Arc::clone(&self.held_back)
    }

    pub(super) fn put(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        let definition = Definition::read(input, &settings.region)?;
        let (name, now_ms) = (definition.name.clone(), settings.clock.now_ms());
        self.check_name(&name, AlarmKind::Metric)?;
        let metric_id = settings.random.uuid();
        if let Some(alarm) = self.by_name.get_mut(&name) {
            // "The tags of an existing alarm are not changed by this operation."
            alarm.redefine(definition, metric_id, now_ms, &mut self.history);
            return Ok(json!({}));
        }
        let arn = place(settings).arn(&name);
        let mut alarm = Alarm::new(arn, definition, metric_id, now_ms);
        alarm.standing_mut().tag(&tags_of(input)?);
        self.history.push(Item::created(AlarmKind::Metric, &name, now_ms, alarm.describe()));
        self.by_name.insert(name, alarm);
        Ok(json!({}))
    }

    pub(super) fn put_composite(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        let place = place(settings);
        let definition = CompositeDefinition::read(input, &place)?;
        let (name, now_ms) = (definition.name.clone(), settings.clock.now_ms());
        self.check_name(&name, AlarmKind::Composite)?;
        self.check_relatives(&definition, &place)?;
        let cause = if self.composites.contains_key(&name) {
            self.redefine(settings, definition, now_ms);
            Cause::Updated
        } else {
            let mut composite = Composite::new(place.arn(&name), definition, now_ms);
            composite.standing_mut().tag(&tags_of(input)?);
            let described = composite.describe_with(&self.sights(composite.definition().rule.children()));
            self.history.push(Item::created(AlarmKind::Composite, &name, now_ms, described));
            self.composites.insert(name.clone(), composite);
            Cause::Created
        };
        if self.judge(settings, &name, &cause, now_ms) {
            self.tell(settings, name, now_ms);
        }
        self.held_back.notify_one();
        Ok(json!({}))
    }

    /// A name is that of one alarm, of one kind.
    fn check_name(&self, name: &str, kind: AlarmKind) -> Result<(), Failure> {
        let (is_metric, is_composite) = (self.by_name.contains_key(name), self.composites.contains_key(name));
        let is_other = if kind == AlarmKind::Metric { is_composite } else { is_metric };
        if is_other {
            let message = format!("AlarmName [{name}] is already used by another alarm of a different type");
            return Err(Failure::validation(message));
        }
        let is_new = !is_metric && !is_composite;
        if is_new && self.by_name.len() + self.composites.len() >= ALARMS_MAX {
            return Err(Failure::limit(format!("An account has at most {ALARMS_MAX} alarms.")));
        }
        Ok(())
    }

    /// The alarms that a composite alarm looks at must be there.
    fn check_relatives(&self, definition: &CompositeDefinition, place: &Place<'_>) -> Result<(), Failure> {
        // They were. Since then they may have gone, and what was kept of them with them.
        if repeatable::is_repeated() {
            return Ok(());
        }
        let children = definition.rule.children();
        let missing = children.iter().filter(|child| self.standing(child).is_none());
        let missing: Vec<String> = missing.map(|child| place.arn(child)).collect();
        if !missing.is_empty() {
            let message = format!(
                "Could not save the composite alarm as alarms [{}] in the alarm rule do not exist",
                missing.join(", ")
            );
            return Err(Failure::validation(message));
        }
        if let Some(suppressor) = definition.suppressor().filter(|name| self.standing(name).is_none()) {
            let arn = place.arn(suppressor);
            let message = format!(
                "Could not save the composite alarm as the actions suppressor [{arn}] does not exist"
            );
            return Err(Failure::validation(message));
        }
        let has_many_parents = |child: &&String| {
            let others = self.composites.values().filter(|other| other.name() != definition.name);
            others.filter(|other| other.has_child(child)).count() >= PARENTS_MAX
        };
        match children.iter().find(has_many_parents) {
            Some(child) => Err(Failure::limit(format!(
                "The alarm {child} is in the rules of {PARENTS_MAX} composite alarms, which is the most."
            ))),
            None => Ok(()),
        }
    }

    fn redefine(&mut self, settings: &Settings, definition: CompositeDefinition, now_ms: i64) {
        let name = definition.name.clone();
        let suppressor = definition.suppressor().and_then(|name| self.sight(name));
        let Some(old) = self.composites.get(&name) else { return };
        let is_same_suppressor = old.definition().suppressor() == definition.suppressor();
        let has_same_children = old.definition().rule.children() == definition.rule.children();
        let children = self.sights(definition.rule.children());
        // AWS shows the children of before only where they were others.
        let old_children =
            if has_same_children { children.clone() } else { self.sights(old.definition().rule.children()) };
        let before = old.describe_with(&old_children);
        let (composites, mut scene) = self.composites_and_scene(settings);
        let Some(composite) = composites.get_mut(&name) else { return };
        composite.redefine(definition, now_ms);
        let after = composite.describe_with(&children);
        scene.history.push(Item::updated(AlarmKind::Composite, &name, now_ms, before, after));
        if !is_same_suppressor {
            composite.change_suppressor(suppressor.as_ref(), now_ms, &mut scene);
        }
    }

    pub(super) fn describe(&self, input: &Value) -> Result<Value, Failure> {
        let (mut found, show): (Vec<Key<'_>>, Show) = match RELATIVES.map(|member| text(input, member)) {
            [None, None] => (self.selected(input), Self::shown_whole),
            [children_of, parents_of] => {
                let is_given =
                    |member: &&str| text(input, member).is_some() || !list(input, member).is_empty();
                let other = SELECTORS.iter().find(|member| is_given(member));
                if let Some(other) = other.copied().or(children_of.and(parents_of).map(|_| RELATIVES[1])) {
                    let message = format!("{other} must not be specified with the relatives of an alarm.");
                    return Err(Failure::validation(message));
                }
                match parents_of {
                    Some(child) => (self.parents_of(child), Self::shown_as_parent),
                    None => (self.children_of(children_of.unwrap_or_default()), Self::shown_as_child),
                }
            }
        };
        found.sort_unstable();
        let after = token(input, read_key, Failure::next_token)?;
        let is_behind = |key: &Key<'_>| after.is_none_or(|after| *key > after);
        let (page, last) = pages::page(found.into_iter().map(|key| (key, key)), is_behind, records(input)?);
        // What is not on the page is not described.
        let of = |wanted: AlarmKind| -> Vec<Value> {
            let names = page.iter().filter(|(kind, _)| *kind == wanted).map(|(_, name)| name);
            names.filter_map(|name| show(self, name)).collect()
        };
        let (metric, composite) = (of(AlarmKind::Metric), of(AlarmKind::Composite));
        let token = last.map(|(kind, name)| format!("{}/{name}", kind.name()));
        Ok(json!({"MetricAlarms": metric, "CompositeAlarms": composite, "NextToken": token}))
    }

    fn selected<'a>(&'a self, input: &Value) -> Vec<Key<'a>> {
        let (names, prefix) = (texts(input, "AlarmNames"), text(input, "ActionPrefix"));
        let is_selected = |(kind, name): Key<'_>, standing: &Standing| {
            kind.is_wanted(input) && is_wanted(name, standing, &names, input)
        };
        let metrics = self.by_name.values().filter_map(|alarm| {
            let key = (AlarmKind::Metric, alarm.name());
            let has_action = prefix.is_none_or(|prefix| alarm.has_action(prefix));
            (is_selected(key, alarm.standing()) && has_action).then_some(key)
        });
        let composites = self.composites.values().filter_map(|alarm| {
            let key = (AlarmKind::Composite, alarm.name());
            let has_action = prefix.is_none_or(|prefix| alarm.has_action(prefix));
            (is_selected(key, alarm.standing()) && has_action).then_some(key)
        });
        metrics.chain(composites).collect()
    }

    fn children_of(&self, name: &str) -> Vec<Key<'_>> {
        let Some(parent) = self.composites.get(name) else { return Vec::new() };
        let children = parent.definition().rule.children().iter().map(String::as_str);
        let there = children.filter(|child| self.standing(child).is_some());
        let kind = |name: &str| {
            if self.by_name.contains_key(name) { AlarmKind::Metric } else { AlarmKind::Composite }
        };
        there.map(|child| (kind(child), child)).collect()
    }

    fn parents_of(&self, name: &str) -> Vec<Key<'_>> {
        let parents = self.composites.values().filter(|composite| composite.has_child(name));
        parents.map(|parent| (AlarmKind::Composite, parent.name())).collect()
    }

    fn shown_whole(&self, name: &str) -> Option<Value> {
        let metric = self.by_name.get(name).map(Alarm::describe);
        metric.or_else(|| self.composites.get(name).map(Composite::describe))
    }

    /// "Only the Alarm Name, ARN, StateValue (OK/ALARM/INSUFFICIENT_DATA), and StateUpdatedTimestamp information are
    /// returned by this operation when you use this parameter."
    fn shown_as_child(&self, name: &str) -> Option<Value> {
        let mut shown = self.shown_as_parent(name)?;
        let members = shown.as_object_mut()?;
        let mut all = serde_json::Map::new();
        self.standing(name)?.describe_in(&mut all);
        for member in ["StateValue", "StateUpdatedTimestamp"] {
            members.insert(member.to_owned(), all.remove(member)?);
        }
        Some(shown)
    }

    /// "Only the Alarm Name and ARN are returned by this operation when you use this parameter."
    fn shown_as_parent(&self, name: &str) -> Option<Value> {
        Some(json!({"AlarmName": name, "AlarmArn": self.standing(name)?.arn()}))
    }

    pub(super) fn describe_for_metric(&self, input: &Value) -> Result<Value, Failure> {
        let (metric, period_s) = (metric(input)?, integer(input, "Period")?);
        let stat = text(input, "Statistic").or(text(input, "ExtendedStatistic"));
        let unit = text(input, "Unit");
        let is_wanted = |of: &MetricStat| {
            of.metric == metric
                && stat.is_none_or(|stat| stat == of.stat)
                && period_s.is_none_or(|period_s| period_s == of.period_s)
                && unit.is_none_or(|unit| of.unit.as_deref() == Some(unit))
        };
        let alarms = self.by_name.values().filter(|alarm| alarm.stat().is_some_and(is_wanted));
        Ok(json!({"MetricAlarms": alarms.map(Alarm::describe).collect::<Vec<_>>()}))
    }

    pub(super) fn history(&self, input: &Value) -> Result<Value, Failure> {
        self.history.describe(input, records(input)?)
    }

    /// Unknown names are no error here, as on AWS. All that there are go, or none.
    pub(super) fn delete(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        let names: BTreeSet<String> = texts(input, "AlarmNames").into_iter().collect();
        if names.iter().filter(|name| self.composites.contains_key(*name)).count() > 1 {
            return Err(Failure::validation("You can delete at most one composite alarm in one operation."));
        }
        let is_needed = |name: &&String| {
            self.standing(name).is_some() && self.composites.values().any(|other| other.depends_on(name))
        };
        let needed: Vec<&str> = names.iter().filter(is_needed).map(String::as_str).collect();
        if !needed.is_empty() {
            let them = if needed.len() == 1 { "it" } else { "them" };
            let message = format!(
                "Cannot delete {} as there are composite alarm(s) depending on {them}.",
                needed.join(",")
            );
            return Err(Failure::validation(message));
        }
        let now_ms = settings.clock.now_ms();
        for name in names {
            if let Some(alarm) = self.by_name.remove(&name) {
                self.history.push(Item::deleted(AlarmKind::Metric, &name, now_ms, alarm.describe()));
            }
            if let Some(composite) = self.composites.remove(&name) {
                let described = composite.describe_with(&self.sights(composite.definition().rule.children()));
                self.history.push(Item::deleted(AlarmKind::Composite, &name, now_ms, described));
            }
        }
        Ok(json!({}))
    }

    pub(super) fn set_state(&mut self, settings: &Settings, input: &Value) -> Result<Value, Failure> {
        let name = required_text(input, "AlarmName")?.to_owned();
        let value = required_text(input, "StateValue")?;
        let refuse = || Failure::not_in_enum(value, "stateValue", "INSUFFICIENT_DATA, ALARM, OK");
        let state = State::parse(value).ok_or_else(refuse)?;
        // It may be empty.
        let reason = input.get("StateReason").and_then(Value::as_str);
        let reason = reason.ok_or_else(|| Failure::missing("StateReason"))?.to_owned();
        let reason_data = text(input, "StateReasonData").map(str::to_owned);
        if reason_data.as_ref().is_some_and(|data| serde_json::from_str::<Value>(data).is_err()) {
            return Err(Failure::no_json());
        }
        self.standing(&name).ok_or_else(Failure::alarm_not_found)?;
        let (verdict, now_ms) = (Verdict { state, reason, reason_data }, settings.clock.now_ms());
        if self.enter(settings, &name, verdict, now_ms) {
            self.tell(settings, name, now_ms);
            self.held_back.notify_one();
        }
        Ok(json!({}))
    }

    pub(super) fn enable_actions(
        &mut self,
        settings: &Settings,
        input: &Value,
        is_enabled: bool,
    ) -> Result<Value, Failure> {
        let now_ms = settings.clock.now_ms();
        for name in texts(input, "AlarmNames") {
            if let Some(alarm) = self.by_name.get_mut(&name) {
                alarm.enable_actions(is_enabled, now_ms, &mut self.history);
            }
            let Some(composite) = self.composites.get(&name) else { continue };
            let children = self.sights(composite.definition().rule.children());
            let before = composite.describe_with(&children);
            let Some(composite) = self.composites.get_mut(&name) else { continue };
            if composite.enable_actions(is_enabled, now_ms) {
                let after = composite.describe_with(&children);
                self.history.push(Item::updated(AlarmKind::Composite, &name, now_ms, before, after));
            }
        }
        Ok(json!({}))
    }

    /// What is not there has no tags, as on AWS.
    pub(super) fn list_tags(&mut self, input: &Value) -> Result<Value, Failure> {
        let alarm = self.by_arn(required_text(input, "ResourceARN")?);
        Ok(json!({"Tags": alarm.map(|alarm| alarm.tags()).unwrap_or_default()}))
    }

    pub(super) fn tag(&mut self, input: &Value) -> Result<Value, Failure> {
        let arn = required_text(input, "ResourceARN")?;
        let tags = tags_of(input)?;
        let alarm = self.by_arn(arn).ok_or_else(|| Failure::not_found(format!("{arn} does not exist")))?;
        alarm.tag(&tags);
        Ok(json!({}))
    }

    pub(super) fn untag(&mut self, input: &Value) -> Result<Value, Failure> {
        let arn = required_text(input, "ResourceARN")?;
        let keys = texts(input, "TagKeys");
        let alarm = self.by_arn(arn).ok_or_else(|| Failure::not_found(format!("{arn} does not exist")))?;
        alarm.untag(&keys);
        Ok(json!({}))
    }

    pub(super) fn state_by_arn(&self, arn: &str) -> Option<&'static str> {
        let metric = self.by_name.values().map(Alarm::standing);
        let mut all = metric.chain(self.composites.values().map(Composite::standing));
        all.find(|alarm| alarm.arn() == arn).map(|alarm| alarm.state().name())
    }

    pub(super) fn evaluate(&mut self, settings: &Settings, now_ms: i64) {
        let Self { by_name, history, invoker, .. } = self;
        let mut scene = Scene { settings, invoker, history };
        let changed = by_name.values_mut().filter_map(|alarm| {
            let is_changed = alarm.evaluate(now_ms, &mut scene);
            is_changed.then(|| alarm.name().to_owned())
        });
        let changed: Vec<String> = changed.collect();
        for name in changed {
            self.tell(settings, name, now_ms);
        }
    }

    /// When the next actions are held back no longer.
    pub(super) fn due_ms(&self) -> Option<i64> {
        self.composites.values().filter_map(Composite::due_ms).min()
    }

    /// Takes the actions whose time has come.
    pub(super) fn release(&mut self, settings: &Settings, now_ms: i64) {
        let (composites, mut scene) = self.composites_and_scene(settings);
        composites.values_mut().for_each(|composite| composite.release(now_ms, &mut scene));
    }

    /// Tells the composite alarms of a change, and of what changes by that. A way that comes back to where it was ends there:
    /// "the evaluation of composite alarms stops if CloudWatch detects a cycle in the evaluation path".
    fn tell(&mut self, settings: &Settings, changed: String, now_ms: i64) {
        let mut ways = VecDeque::from([(changed, Vec::new())]);
        let mut evaluations = 0;
        while let Some((child, way)) = ways.pop_front() {
            let Some(sight) = self.sight(&child) else { continue };
            let cause = Cause::Child(sight.clone());
            let parents = self.composites.values().filter(|parent| parent.has_child(&child));
            let parents = parents.map(|parent| parent.name().to_owned());
            let parents: Vec<String> = parents.filter(|parent| !way.contains(parent)).collect();
            for parent in parents.into_iter().take(EVALUATIONS_MAX - evaluations) {
                evaluations += 1;
                if evaluations == EVALUATIONS_MAX {
                    tracing::warn!(alarm.name = child, "too many composite alarms depend on each other");
                }
                if self.judge(settings, &parent, &cause, now_ms) {
                    let way = way.iter().chain([&parent]).cloned().collect();
                    ways.push_back((parent, way));
                }
            }
            let (composites, mut scene) = self.composites_and_scene(settings);
            let suppressed = composites.values_mut();
            for composite in
                suppressed.filter(|other| other.definition().suppressor() == Some(child.as_str()))
            {
                composite.see_suppressor(&sight, now_ms, &mut scene);
            }
        }
    }

    /// Evaluates the rule of a composite alarm. Whether its state is another one then.
    fn judge(&mut self, settings: &Settings, name: &str, cause: &Cause, now_ms: i64) -> bool {
        let Some(composite) = self.composites.get(name) else { return false };
        let rule: &Rule = &composite.definition().rule;
        let state_of = |child: &str| self.standing(child).map_or(State::InsufficientData, Standing::state);
        let said = rule.evaluate(&state_of);
        let state = if said.is_true { State::Alarm } else { State::Ok };
        if state == composite.standing().state() {
            return false;
        }
        let by: Vec<Sight> = said.by.iter().filter_map(|child| self.sight(child)).collect();
        let verdict = cause.verdict(composite.standing().arn(), state, &by);
        self.enter(settings, name, verdict, now_ms)
    }

    fn enter(&mut self, settings: &Settings, name: &str, verdict: Verdict, now_ms: i64) -> bool {
        let suppressor = self.composites.get(name).and_then(|composite| composite.definition().suppressor());
        let suppressor = suppressor.and_then(|name| self.sight(name));
        let Self { by_name, composites, history, invoker, .. } = self;
        let mut scene = Scene { settings, invoker, history };
        if let Some(alarm) = by_name.get_mut(name) {
            return alarm.enter(verdict, now_ms, &mut scene);
        }
        let composite = composites.get_mut(name);
        composite.is_some_and(|composite| composite.enter(verdict, suppressor.as_ref(), now_ms, &mut scene))
    }

    fn composites_and_scene<'a>(
        &'a mut self,
        settings: &'a Settings,
    ) -> (&'a mut BTreeMap<String, Composite>, Scene<'a>) {
        let Self { composites, history, invoker, .. } = self;
        (composites, Scene { settings, invoker, history })
    }

    fn standing(&self, name: &str) -> Option<&Standing> {
        let metric = self.by_name.get(name).map(Alarm::standing);
        metric.or_else(|| self.composites.get(name).map(Composite::standing))
    }

    fn sight(&self, name: &str) -> Option<Sight> {
        self.standing(name).map(Sight::of)
    }

    fn sights(&self, names: &[String]) -> Vec<Sight> {
        names.iter().filter_map(|name| self.sight(name)).collect()
    }

    fn by_arn(&mut self, arn: &str) -> Option<&mut Standing> {
        let metric = self.by_name.values_mut().map(Alarm::standing_mut);
        let mut all = metric.chain(self.composites.values_mut().map(Composite::standing_mut));
        all.find(|alarm| alarm.arn() == arn)
    }
}

fn read_key(token: &str) -> Option<Key<'_>> {
    let (kind, name) = token.split_once('/')?;
    Some((AlarmKind::parse(kind)?, name))
}

/// Whether the answer may show composite alarms.
pub(super) fn may_show_composites(input: &Value) -> bool {
    AlarmKind::Composite.is_wanted(input) || RELATIVES.iter().any(|member| text(input, member).is_some())
}

fn place(settings: &Settings) -> Place<'_> {
    Place { region: &settings.region, account_id: &settings.account_id }
}

fn is_wanted(name: &str, standing: &Standing, names: &[String], input: &Value) -> bool {
    (names.is_empty() || names.iter().any(|wanted| wanted == name))
        && text(input, "AlarmNamePrefix").is_none_or(|prefix| name.starts_with(prefix))
        && text(input, "StateValue").is_none_or(|state| state == standing.state().name())
}

fn records(input: &Value) -> Result<usize, Failure> {
    match integer(input, "MaxRecords")? {
        None => Ok(RECORDS_DEFAULT),
        Some(limit) if (1..=RECORDS_MAX).contains(&limit) => {
            Ok(usize::try_from(limit).unwrap_or(RECORDS_DEFAULT))
        }
        Some(_) => Err(Failure::validation(format!("MaxRecords must be between 1 and {RECORDS_MAX}."))),
    }
}

fn tags_of(input: &Value) -> Result<Vec<(String, String)>, Failure> {
    let pair = |tag: &Value| -> Result<(String, String), Failure> {
        let value = tag.get("Value").and_then(Value::as_str).unwrap_or_default();
        Ok((required_text(tag, "Key")?.to_owned(), value.to_owned()))
    };
    list(input, "Tags").iter().map(pair).collect()
}
