//! Aliases with two versions: which pairs are taken, who runs, and what is measured of it.

use super::*;
use crate::lambda::publish::RULES_OF_ALIASES;
use crate::settings::Random;

const CONFIGURATION: &str = "/2015-03-31/functions/f/configuration";
const VERSIONS: &str = "/2015-03-31/functions/f/versions";
const ALIASES: &str = "/2015-03-31/functions/f/aliases";
const LIVE: &str = "/2015-03-31/functions/f/aliases/live";
const SEED: u64 = 7;

/// Another version of the function `f`, with these settings changed.
async fn publish(lambda: &Lambda, hand: &ManualClock, settings: &Value) {
    call(lambda, Method::PUT, CONFIGURATION, settings).await;
    hand.advance(Duration::from_secs(1));
    call(lambda, Method::POST, VERSIONS, &json!({})).await;
}

/// The alias `live` of version 1 of the function `f`, which has two.
async fn live() -> (Lambda, Arc<ManualClock>) {
    let (lambda, hand) = account_by_hand(3).await;
    for timeout in [10, 20] {
        publish(&lambda, &hand, &json!({"Timeout": timeout})).await;
    }
    call(&lambda, Method::POST, ALIASES, &json!({"Name": "live", "FunctionVersion": "1"})).await;
    (lambda, hand)
}

fn weights(weights: Value) -> Value {
    json!({"RoutingConfig": {"AdditionalVersionWeights": weights}})
}

async fn read(lambda: &Lambda, path: &str) -> Value {
    ask(lambda, Method::GET, path, &Value::Null).await.1
}

/// What a thousand invocations by the alias run.
fn chosen(lambda: &Lambda) -> Vec<String> {
    let random = Random::from_seed(SEED);
    let store = lambda.store();
    let choose = || store.functions["f"].choose(Some("live"), &random).unwrap();
    (0..1_000).map(|_| choose().executed_version().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_second_version_has_its_share_of_the_invocations() {
    let (lambda, _hand) = live().await;
    for (weight, share) in [(0.0, 0..=0), (0.25, 200..=300), (1.0, 1_000..=1_000)] {
        call(&lambda, Method::PUT, LIVE, &weights(json!({"2": weight}))).await;
        let seconds = chosen(&lambda).iter().filter(|version| *version == "2").count();
        assert!(share.contains(&seconds), "{weight}: {seconds}");
    }
    call(&lambda, Method::PUT, LIVE, &weights(json!({"2": 0.5}))).await;
    assert_eq!(chosen(&lambda), chosen(&lambda), "the same seed chooses the same");
    let store = lambda.store();
    for direct in [None, Some("1"), Some("2")] {
        let chosen = store.functions["f"].choose(direct, &Random::from_seed(SEED)).unwrap();
        assert_eq!(chosen.executed_version(), None, "{direct:?}");
        assert_eq!(chosen.version.pool.spec.version, direct.unwrap_or("$LATEST"));
    }
}

#[tokio::test]
async fn the_second_version_is_another_published_one_with_the_same_role_and_dead_letters() {
    let (lambda, hand) = live().await;
    publish(&lambda, &hand, &json!({"Role": "arn:aws:iam::123456789012:role/g"})).await;
    let dead = json!({"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"});
    let role = "arn:aws:iam::123456789012:role/f";
    publish(&lambda, &hand, &json!({"Role": role, "DeadLetterConfig": dead})).await;
    let before = read(&lambda, LIVE).await;
    let of_weights = "1 validation error detected: Value '{2=1.01}' at 'routingConfig.additionalVersionWeights' \
                      failed to satisfy constraint: Map value must satisfy constraint: \
                      [Member must have value less than or equal to 1.0, \
                      Member must have value greater than or equal to 0.0, Member must not be null]";
    let of_versions = "1 validation error detected: Value '{$LATEST=0.5}' at \
                       'routingConfig.additionalVersionWeights' failed to satisfy constraint: \
                       Map keys must satisfy constraint: [Member must have length less than or equal to 1024, \
                       Member must have length greater than or equal to 1, \
                       Member must satisfy regular expression pattern: [0-9]+]";
    for (given, status, message) in [
        (json!({"2": 1.01}), 400, of_weights),
        (json!({"$LATEST": 0.5}), 400, of_versions),
        (
            json!({"2": 0.2, "3": 0.3}),
            400,
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            json!({"1": 0.5}),
            400,
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
        ),
        (json!({"9": 0.5}), 404, "Function not found: arn:aws:lambda:us-east-1:123456789012:function:f:9"),
        (json!({"02": 0.5}), 404, "Function not found: arn:aws:lambda:us-east-1:123456789012:function:f:02"),
        (json!({"3": 0.5}), 400, "Specified versions must be associated with the same execution role"),
        (json!({"4": 0.5}), 400, "Specified versions must be configured with the same DLQ target"),
    ] {
        let input = weights(given);
        let (refused, answer) = ask(&lambda, Method::PUT, LIVE, &input).await;
        let said = answer["message"].as_str().or(answer["Message"].as_str());
        assert_eq!((refused, said), (status, Some(message)), "{input}");
    }
    for input in [weights(json!({"2": "all"})), json!({"RoutingConfig": "2"})] {
        assert_eq!(ask(&lambda, Method::PUT, LIVE, &input).await.0, 400, "{input}");
    }
    assert_eq!(read(&lambda, LIVE).await, before);
    let mut latest = weights(json!({"2": 0.5}));
    latest["FunctionVersion"] = json!("$LATEST");
    let (status, answer) = ask(&lambda, Method::PUT, LIVE, &latest).await;
    let message = "$LATEST is not supported for an alias pointing to more than 1 version";
    assert_eq!((status, &answer["message"]), (400, &json!(message)));
}

#[tokio::test]
async fn the_second_version_stays_until_it_is_taken_away_and_is_held_as_long() {
    let (lambda, _hand) = live().await;
    call(&lambda, Method::PUT, LIVE, &weights(json!({"2": 0.25}))).await;
    call(&lambda, Method::PUT, LIVE, &json!({"Description": "d"})).await;
    let shown = read(&lambda, LIVE).await;
    assert_eq!(shown["RoutingConfig"], json!({"AdditionalVersionWeights": {"2": 0.25}}));
    assert_eq!(read(&lambda, ALIASES).await["Aliases"], json!([shown]));
    assert_eq!(lambda.timeout_seconds("f:live"), Some(20), "as long as the longer of the two");
    let only_first = read(&lambda, "/2015-03-31/functions/f/aliases?FunctionVersion=2").await;
    assert_eq!(only_first["Aliases"], json!([]));
    let (status, answer) = ask(&lambda, Method::PUT, LIVE, &json!({"FunctionVersion": "2"})).await;
    let message =
        "Invalid function version 2. Function version 2 is already included in routing configuration.";
    assert_eq!((status, &answer["message"]), (400, &json!(message)));
    let second = "/2015-03-31/functions/f?Qualifier=2";
    for path in [second, "/2015-03-31/functions/f?Qualifier=02"] {
        let (status, answer) = ask(&lambda, Method::DELETE, path, &Value::Null).await;
        let message = "Unable to delete version because the following aliases reference it: [live]";
        assert_eq!((status, &answer["message"]), (409, &json!(message)), "{path}");
    }
    assert_eq!(ask(&lambda, Method::PUT, LIVE, &json!({"FunctionVersion": "01"})).await.0, 404);
    for nothing in [json!({}), json!({"AdditionalVersionWeights": {}})] {
        call(&lambda, Method::PUT, LIVE, &weights(json!({"2": 0.25}))).await;
        call(&lambda, Method::PUT, LIVE, &json!({"RoutingConfig": nothing})).await;
        assert_eq!(read(&lambda, LIVE).await.get("RoutingConfig"), None);
    }
    assert_eq!(lambda.timeout_seconds("f:live"), Some(10));
    call(&lambda, Method::DELETE, second, &Value::Null).await;
}

#[tokio::test]
async fn an_alias_is_made_with_two_versions_and_made_again_so() {
    let (lambda, _hand) = live().await;
    let mut input = weights(json!({"2": 1}));
    input["FunctionVersion"] = json!("1");
    for (name, again) in [("new", false), ("kept", true)] {
        input["Name"] = json!(name);
        let (status, made) = if again {
            ask_again(&lambda, Method::POST, ALIASES, &input).await
        } else {
            ask(&lambda, Method::POST, ALIASES, &input).await
        };
        assert_eq!(status, 201, "{made}");
        assert_eq!(made["RoutingConfig"], json!({"AdditionalVersionWeights": {"2": 1.0}}));
    }
    // An older emulator looked at nothing but weights.
    let unread = json!({"Name": "old", "FunctionVersion": "1", "RoutingConfig": "2"});
    assert_eq!(ask(&lambda, Method::POST, ALIASES, &unread).await.0, 400);
    assert_eq!(ask_again(&lambda, Method::POST, ALIASES, &unread).await.0, 201);
}

#[tokio::test]
async fn aliases_come_in_pages_of_their_names() {
    let (lambda, _hand) = live().await;
    for name in ["a", "b"] {
        call(&lambda, Method::POST, ALIASES, &json!({"Name": name, "FunctionVersion": "2"})).await;
    }
    let mut names = Vec::new();
    let mut marker = String::new();
    for _ in 0..3 {
        let page = read(&lambda, &format!("{ALIASES}?MaxItems=1&Marker={marker}")).await;
        names.push(page["Aliases"][0]["Name"].clone());
        marker = page["NextMarker"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((names, marker), (vec![json!("a"), json!("b"), json!("live")], String::new()));
    for (size, constraint) in [("0", "greater than or equal to 1"), ("10001", "less than or equal to 10000")]
    {
        let (status, answer) =
            ask(&lambda, Method::GET, &format!("{ALIASES}?MaxItems={size}"), &Value::Null).await;
        let message = format!(
            "1 validation error detected: Value '{size}' at 'maxItems' failed to satisfy constraint: \
             Member must have value {constraint}"
        );
        assert_eq!((status, &answer["message"]), (400, &json!(message)));
    }
}

#[tokio::test]
async fn an_alias_takes_along_who_may_invoke_by_it_and_where_its_events_go() {
    let (lambda, _hand) = live().await;
    let permission =
        |id: &str| json!({"StatementId": id, "Action": "lambda:InvokeFunction", "Principal": "*"});
    let policy = |qualifier: &str| format!("/2015-03-31/functions/f/policy?Qualifier={qualifier}");
    call(&lambda, Method::POST, &policy("1"), &permission("s")).await;
    let events = "/2019-09-25/functions/f/event-invoke-config?Qualifier=live".to_owned();
    let alias = json!({"Name": "live", "FunctionVersion": "1"});
    let older = RULES_OF_ALIASES - 1;
    for (deleted_under, is_made_by_older, status) in
        [(older, true, 200), (older, false, 404), (RULES_OF_ALIASES, true, 404)]
    {
        let case = format!("{deleted_under}-{is_made_by_older}");
        call(&lambda, Method::POST, &policy("live"), &permission(&case)).await;
        call(&lambda, Method::PUT, &events, &json!({"MaximumRetryAttempts": 0})).await;
        let delete = ask(&lambda, Method::DELETE, LIVE, &Value::Null);
        assert_eq!(repeatable::scope_again(deleted_under, 7, lambda.now_ms(), delete).await.0, 204);
        let make = ask(&lambda, Method::POST, ALIASES, &alias);
        let (made, _) = if is_made_by_older {
            repeatable::scope_again(older, 7, lambda.now_ms(), make).await
        } else {
            make.await
        };
        assert_eq!(made, 201, "{case}");
        for path in [&policy("live"), &events] {
            assert_eq!(ask(&lambda, Method::GET, path, &Value::Null).await.0, status, "{case} {path}");
        }
    }
    // A version is no alias.
    call(&lambda, Method::DELETE, "/2015-03-31/functions/f/aliases/1", &Value::Null).await;
    assert_eq!(ask(&lambda, Method::GET, &policy("1"), &Value::Null).await.0, 200);
}

#[tokio::test]
async fn what_a_function_has_as_a_whole_is_not_set_or_deleted_by_an_alias_or_a_version() {
    let (lambda, _hand) = live().await;
    let whole = "This operation is permitted on Lambda functions only. \
                 Aliases and versions do not support this operation. \
                 Please specify either a function name or an unqualified function ARN.";
    let tagged = "Tags on function aliases and versions are not supported. Please specify a function ARN.";
    let tags = "/2017-03-31/tags/arn:aws:lambda:us-east-1:123456789012:function:f:live";
    let untag = format!("{tags}?tagKeys=a");
    let reserve = json!({"ReservedConcurrentExecutions": 0});
    for (method, path, input, message) in [
        (Method::PUT, "/2017-10-31/functions/f:1/concurrency", &reserve, whole),
        (Method::DELETE, "/2017-10-31/functions/f:live/concurrency", &Value::Null, whole),
        (Method::GET, tags, &Value::Null, tagged),
        (Method::POST, tags, &json!({"Tags": {"a": "b"}}), tagged),
        (Method::DELETE, untag.as_str(), &Value::Null, tagged),
        (
            Method::DELETE,
            "/2015-03-31/functions/f?Qualifier=live",
            &Value::Null,
            "Deletion of aliases is not currently supported.",
        ),
    ] {
        let (status, answer) = ask(&lambda, method.clone(), path, input).await;
        assert_eq!((status, &answer["message"]), (400, &json!(message)), "{method} {path}");
        let (status, answer) = ask_again(&lambda, method.clone(), path, input).await;
        assert!((200..300).contains(&status), "as an older emulator took it: {method} {path}: {answer}");
    }
    assert_eq!(read(&lambda, LIVE).await["Name"], "live");
}

fn sum(lambda: &Lambda, metric: &str, dimensions: &[(&str, &str)]) -> Option<f64> {
    measured_by(lambda, metric, dimensions, Unit::Count).map(|set| set.sum)
}

#[tokio::test]
async fn what_an_alias_with_two_versions_ran_is_answered_and_measured() {
    let (lambda, _hand) = live().await;
    let by_alias = [("FunctionName", "f"), ("Resource", "f:live")];
    let by_version = |version| [("FunctionName", "f"), ("Resource", "f:live"), ("ExecutedVersion", version)];
    // The package cannot be run: that is answered and measured too.
    invocation::run(admit(&lambda, "f:live").unwrap()).await.unwrap();
    assert_eq!(sum(&lambda, "Invocations", &by_alias), Some(1.0));
    assert_eq!(sum(&lambda, "Invocations", &by_version("1")), None, "there was no choice");
    call(&lambda, Method::PUT, LIVE, &weights(json!({"2": 1.0}))).await;
    let path = "/2015-03-31/functions/f:live/invocations";
    let answer = lambda.handle(AwsRequest::unsigned("lambda", Method::POST, path, "{}")).await;
    assert_eq!(answer.headers["x-amz-executed-version"], "2");
    for metric in ["Invocations", "Errors"] {
        assert_eq!(sum(&lambda, metric, &by_alias), Some(2.0), "{metric}");
        assert_eq!(sum(&lambda, metric, &by_version("2")), Some(1.0), "{metric}");
        assert_eq!(sum(&lambda, metric, &by_version("1")), None, "{metric}");
    }
    let reserve = json!({"ReservedConcurrentExecutions": 0});
    call(&lambda, Method::PUT, "/2017-10-31/functions/f/concurrency", &reserve).await;
    admit(&lambda, "f:live").unwrap_err();
    assert_eq!(sum(&lambda, "Throttles", &by_version("2")), Some(1.0));
}
