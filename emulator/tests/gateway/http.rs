use emulator::invoke::InvokeOutcome;
use reqwest::Client;
use serde_json::{Value, json};

use crate::stand::{DEADLINE, START_MS, Stand, answered, uri};

/// An HTTP API with one route to `work`, on the stage `$default`.
pub(crate) async fn api(stand: &Stand, key: &str, route: Value, integration: Value) -> (String, String) {
    let api = stand.create("/v2/apis", json!({"name": "tasks", "protocolType": "HTTP"}), "apiId").await;
    let target = stand.integration(&api, "work", integration).await;
    stand.route(&api, key, &target, route).await;
    stand.stage(&api, "$default").await;
    let url = format!("http://{}/_aws/execute-api/{api}", stand.address);
    (api, url)
}

#[tokio::test]
async fn a_request_becomes_an_event_of_format_2_and_the_answer_a_response() {
    let stand = Stand::start(|_, _| {
        answered(json!({"statusCode": 202, "headers": {"Location": "/tasks/7"}, "cookies": ["s=1"], "body": "done"}))
    })
    .await;
    let (id, url) = api(&stand, "POST /tasks/{id}", json!({}), json!({"payloadFormatVersion": "2.0"})).await;
    let answer = Client::new()
        .post(format!("{url}/tasks/7?a=1&a=2&b=x%20y"))
        .header("content-type", "application/json")
        .header("cookie", "k=v; l=w")
        .header("X-Twice", "1")
        .header("X-Twice", "2")
        .body(r#"{"kind":"digest"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.headers()["location"], "/tasks/7");
    assert_eq!(answer.headers()["set-cookie"], "s=1");
    let request_id = answer.headers()["apigw-requestid"].to_str().unwrap().to_owned();
    assert_eq!(answer.text().await.unwrap(), "done");

    let event = &stand.calls("work")[0];
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["routeKey"], "POST /tasks/{id}");
    assert_eq!(event["rawPath"], "/tasks/7");
    assert_eq!(event["rawQueryString"], "a=1&a=2&b=x%20y");
    assert_eq!(event["cookies"], json!(["k=v", "l=w"]));
    assert_eq!(event["headers"]["x-twice"], "1,2");
    assert_eq!(event["headers"]["x-forwarded-proto"], "https");
    assert!(event["headers"].get("cookie").is_none());
    assert_eq!(event["queryStringParameters"], json!({"a": "1,2", "b": "x y"}));
    assert_eq!(event["pathParameters"], json!({"id": "7"}));
    assert_eq!(event["body"], r#"{"kind":"digest"}"#);
    assert_eq!(event["isBase64Encoded"], false);
    assert!(event.get("stageVariables").is_none());
    let context = &event["requestContext"];
    assert_eq!(context["apiId"], json!(id));
    assert_eq!(context["stage"], "$default");
    assert_eq!(context["requestId"], json!(request_id));
    assert_eq!(context["time"], "14/Nov/2023:22:13:20 +0000");
    assert_eq!(context["timeEpoch"], START_MS);
    assert_eq!(context["http"]["method"], "POST");
    assert!(context.get("authorizer").is_none());
}

#[tokio::test]
async fn in_format_1_eight_names_of_headers_have_capitals() {
    let stand = Stand::start(|function, event| match function {
        "authorizer" => {
            answered(json!({"principalId": "u", "policyDocument": {"Version": "2012-10-17", "Statement":
            [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": event["methodArn"]}]}}))
        }
        _ => answered(json!({"statusCode": 200})),
    })
    .await;
    let (id, url) = api(&stand, "GET /open", json!({}), json!({})).await;
    let authorizer = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
        "authorizerPayloadFormatVersion": "1.0", "identitySource": ["$request.header.X-Token"]});
    let authorizer = stand.create(&format!("/v2/apis/{id}/authorizers"), authorizer, "authorizerId").await;
    let target = stand.integration(&id, "work", json!({"payloadFormatVersion": "1.0"})).await;
    let guarded = json!({"authorizationType": "CUSTOM", "authorizerId": authorizer});
    stand.route(&id, "POST /x", &target, guarded).await;
    let request = Client::new().post(format!("{url}/x")).header("X-Token", "t").header("user-agent", "me");
    let answer = request.header("content-type", "text/plain").body("abc").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (event, asked) = (&stand.calls("work")[0], &stand.calls("authorizer")[0]);
    for headers in [&event["headers"], &event["multiValueHeaders"], &asked["headers"]] {
        let names = headers.as_object().unwrap().keys().map(String::as_str);
        let (mut capitals, lower): (Vec<_>, Vec<_>) =
            names.partition(|name| name.contains(|letter: char| letter.is_ascii_uppercase()));
        capitals.sort_unstable();
        assert_eq!(
            capitals,
            [
                "Content-Length",
                "Content-Type",
                "Host",
                "User-Agent",
                "X-Amzn-Trace-Id",
                "X-Forwarded-For",
                "X-Forwarded-Port",
                "X-Forwarded-Proto",
            ]
        );
        assert!(lower.contains(&"x-token"), "{lower:?}");
    }
}

#[tokio::test]
async fn an_event_has_the_length_of_its_body_though_the_client_named_none() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, _) = api(&stand, "ANY /x", json!({}), json!({"payloadFormatVersion": "2.0"})).await;
    stand.access_log(&id, "$default", "$context.dataProcessed").await;
    let head = |method: &str| {
        format!("{method} /_aws/execute-api/{id}/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n")
    };
    let chunks = "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    for (request, length) in
        [(format!("{}\r\n", head("GET")), "0"), (format!("{}{chunks}", head("POST")), "3")]
    {
        let answer = stand.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(stand.calls("work").last().unwrap()["headers"]["content-length"], length);
    }
    assert_eq!(stand.log_lines().await, ["0", "3"]);
}

#[tokio::test]
async fn a_greedy_route_takes_the_root_with_an_empty_rest() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (_, url) = api(&stand, "ANY /{proxy+}", json!({}), json!({"payloadFormatVersion": "2.0"})).await;
    assert_eq!(reqwest::get(format!("{url}/")).await.unwrap().status(), 200);
    let event = &stand.calls("work")[0];
    assert_eq!((&event["rawPath"], &event["pathParameters"]), (&json!("/"), &json!({"proxy": ""})));
}

#[tokio::test]
async fn what_goes_wrong_has_the_status_that_aws_gives_it() {
    let stand = Stand::start(|_, event| match event["pathParameters"]["case"].as_str() {
        Some("throttled") => {
            Some(InvokeOutcome::Throttled { reason: "ReservedFunctionConcurrentInvocationLimitExceeded" })
        }
        Some("fails") => {
            Some(InvokeOutcome::FunctionError { payload: bytes::Bytes::from_static(b"{}"), timed_out: false })
        }
        Some("malformed") => answered(json!({"statusCode": "many"})),
        _ => answered(json!({"inferred": true})),
    })
    .await;
    let (_, url) = api(&stand, "GET /{case}", json!({}), json!({"payloadFormatVersion": "2.0"})).await;
    for (path, status, body) in [
        ("/throttled", 503, r#"{"message":"Service Unavailable"}"#),
        ("/fails", 500, r#"{"message":"Internal Server Error"}"#),
        ("/malformed", 500, r#"{"message":"Internal Server Error"}"#),
        ("/no/such/route", 404, r#"{"message":"Not Found"}"#),
        ("/fine", 200, r#"{"inferred":true}"#),
    ] {
        let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/json");
        assert_eq!(answer.text().await.unwrap(), body, "{path}");
    }
}

#[tokio::test]
async fn an_integration_that_takes_too_long_is_unavailable() {
    let stand = Stand::start(|_, _| None).await;
    let (_, url) = api(&stand, "GET /slow", json!({}), json!({"timeoutInMillis": 1_000})).await;
    let request = tokio::spawn(reqwest::get(format!("{url}/slow")));
    stand.calls_when("work", 1).await;
    stand.clock.advance(std::time::Duration::from_millis(1_000));
    let answer = tokio::time::timeout(DEADLINE, request).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.status(), 503);
}

#[tokio::test]
async fn a_body_over_10_mb_is_too_large() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (_, url) = api(&stand, "POST /x", json!({}), json!({})).await;
    let answer =
        Client::new().post(format!("{url}/x")).body(vec![b'a'; 10 * 1024 * 1024 + 1]).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.text().await.unwrap(), r#"{"message":"Request Entity Too Large"}"#);
    assert!(stand.calls("work").is_empty());
}

/// A request of a client that reads nothing until it has written all of a large body: the status of its answer.
async fn upload(stand: &Stand, path: &str) -> u16 {
    let body = vec![b'a'; 40 * 1024 * 1024];
    stand.exchange(&format!("POST /_aws/execute-api/{path} HTTP/1.1"), &body).await
}

#[tokio::test]
async fn what_is_refused_with_its_body_unread_has_its_answer() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, _) = api(&stand, "POST /x", json!({}), json!({})).await;
    let authorizer = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
        "authorizerPayloadFormatVersion": "2.0", "identitySource": ["$request.header.Authorization"]});
    let authorizer = stand.create(&format!("/v2/apis/{id}/authorizers"), authorizer, "authorizerId").await;
    let guarded = json!({"authorizationType": "CUSTOM", "authorizerId": authorizer});
    let target = stand.integration(&id, "work", json!({})).await;
    stand.route(&id, "POST /guarded", &target, guarded).await;
    let push = stand.websocket_api().await;
    let target = stand.integration(&push, "work", json!({})).await;
    stand.route(&push, "$default", &target, json!({})).await;
    stand.stage(&push, "live").await;
    for (path, status) in [
        (format!("{id}/x"), 413),
        (format!("{id}/nowhere"), 404),
        (format!("{id}/guarded"), 401),
        ("nothing/x".to_owned(), 404),
        (format!("{push}/live/@connections/abc"), 403),
        (format!("{push}/live"), 426),
        (format!("{push}/nowhere"), 403),
    ] {
        assert_eq!(upload(&stand, &path).await, status, "{path}");
    }
    assert_eq!(stand.requests().len(), 0);
}

#[tokio::test]
async fn the_request_line_and_the_values_of_the_headers_take_10_240_bytes() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, _) = api(&stand, "GET /x", json!({}), json!({})).await;
    let asked = "GET /x?q HTTP/1.1".len() + "a".len() + "close".len() + "0".len();
    for (spare, status) in [(0, 200), (1, 431)] {
        let value = "x".repeat(10_240 - asked + spare);
        let head =
            format!("GET /_aws/execute-api/{id}/x?q HTTP/1.1\r\nx-a-name-that-counts-nothing: {value}");
        assert_eq!(stand.exchange(&head, b"").await, status);
    }
}

#[tokio::test]
async fn a_stage_limit_refuses_until_it_is_replaced() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, url) = api(&stand, "GET /x", json!({}), json!({})).await;
    let stage = format!("/v2/apis/{id}/stages/$default");
    let limits = json!({"defaultRouteSettings": {"throttlingBurstLimit": 2, "throttlingRateLimit": 1.0}});
    let (status, answer) = stand.manage("PATCH", &stage, limits).await;
    assert_eq!((status, &answer["defaultRouteSettings"]["throttlingBurstLimit"]), (200, &json!(2)));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(reqwest::get(format!("{url}/x")).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);

    let (_, answer) = stand.manage("PATCH", &stage, json!({"defaultRouteSettings": {}})).await;
    assert_eq!(answer["defaultRouteSettings"], json!({"detailedMetricsEnabled": false}), "absent, not zero");
    assert_eq!(reqwest::get(format!("{url}/x")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_authorizer_is_asked_once_per_identity_and_its_context_reaches_the_function() {
    let stand = Stand::start(|function, event| match function {
        "authorizer" => {
            let allowed = event["identitySource"] == json!(["Bearer good"]);
            answered(json!({"isAuthorized": allowed, "context": {"sub": "ada"}}))
        }
        _ => answered(json!({"statusCode": 200})),
    })
    .await;
    let (id, url) = api(&stand, "GET /open", json!({}), json!({"payloadFormatVersion": "2.0"})).await;
    let authorizer = json!({"name": "a", "authorizerType": "REQUEST", "authorizerUri": uri("authorizer"),
        "authorizerPayloadFormatVersion": "2.0", "enableSimpleResponses": true,
        "identitySource": ["$request.header.Authorization"], "authorizerResultTtlInSeconds": 60});
    let authorizer = stand.create(&format!("/v2/apis/{id}/authorizers"), authorizer, "authorizerId").await;
    let target = stand.integration(&id, "work", json!({"payloadFormatVersion": "2.0"})).await;
    let guarded = json!({"authorizationType": "CUSTOM", "authorizerId": authorizer});
    stand.route(&id, "GET /guarded", &target, guarded).await;

    let client = Client::new();
    let get = async |token: Option<&str>| {
        let request = client.get(format!("{url}/guarded"));
        let request =
            token.into_iter().fold(request, |request, token| request.header("authorization", token));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(get(None).await, 401);
    assert_eq!(get(Some("Bearer bad")).await, 403);
    assert_eq!(get(Some("Bearer good")).await, 200);
    assert_eq!(get(Some("Bearer good")).await, 200);
    assert_eq!(stand.calls("authorizer").len(), 2, "one for each token that was sent");
    assert_eq!(stand.calls("work")[0]["requestContext"]["authorizer"], json!({"lambda": {"sub": "ada"}}));
    assert_eq!(
        stand.calls("authorizer")[0]["routeArn"],
        json!(format!("arn:aws:execute-api:us-east-1:123456789012:{id}/$default/GET/guarded"))
    );
}

#[tokio::test]
async fn the_gateway_answers_preflights_itself() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let (id, url) = api(&stand, "GET /x", json!({}), json!({})).await;
    let cors = json!({"corsConfiguration": {"allowOrigins": ["https://app.example"], "allowMethods": ["GET"], "maxAge": 60}});
    assert_eq!(stand.manage("PATCH", &format!("/v2/apis/{id}"), cors).await.0, 200);
    let preflight = async |origin: &str| {
        let request = Client::new().request(reqwest::Method::OPTIONS, format!("{url}/x"));
        request.header("origin", origin).header("access-control-request-method", "GET").send().await.unwrap()
    };
    let allowed = preflight("https://app.example").await;
    assert_eq!(allowed.status(), 204);
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example");
    assert_eq!(allowed.headers()["access-control-max-age"], "60");
    let refused = preflight("https://other.example").await;
    assert_eq!(refused.status(), 204);
    assert!(!refused.headers().contains_key("access-control-allow-origin"));
    assert!(stand.calls("work").is_empty());
}

#[tokio::test]
async fn a_stage_without_auto_deploy_serves_its_deployment_until_moved() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200}))).await;
    let id = stand.create("/v2/apis", json!({"name": "tasks", "protocolType": "HTTP"}), "apiId").await;
    let target = stand.integration(&id, "work", json!({})).await;
    stand.route(&id, "GET /a", &target, json!({})).await;
    let deployments = format!("/v2/apis/{id}/deployments");
    let first = stand.create(&deployments, json!({}), "deploymentId").await;
    let stage = json!({"stageName": "live", "deploymentId": first});
    stand.create(&format!("/v2/apis/{id}/stages"), stage, "stageName").await;
    stand.route(&id, "GET /b", &target, json!({})).await;
    let get = async |path: &str| {
        let url = format!("http://{}/_aws/execute-api/{id}/live{path}", stand.address);
        reqwest::get(url).await.unwrap().status().as_u16()
    };
    assert_eq!((get("/a").await, get("/b").await), (200, 404));
    stand.create(&deployments, json!({"stageName": "live"}), "deploymentId").await;
    assert_eq!(get("/b").await, 200);
    assert_eq!(stand.calls("work")[0]["path"], "/live/a", "a named stage is part of the path");
}

#[tokio::test]
async fn the_management_api_refuses_what_it_cannot_serve() {
    let stand = Stand::start(|_, _| None).await;
    let id = stand.create("/v2/apis", json!({"name": "tasks", "protocolType": "HTTP"}), "apiId").await;
    let proxy = json!({"integrationType": "HTTP_PROXY", "integrationUri": "https://example.com"});
    for (method, path, body, status) in [
        ("GET", "/v2/apis/nothing".to_owned(), Value::Null, 404),
        ("POST", "/v2/apis".to_owned(), json!({"name": "x"}), 400),
        ("POST", format!("/v2/apis/{id}/integrations"), proxy, 400),
        ("POST", format!("/v2/apis/{id}/routes"), json!({"routeKey": "nonsense"}), 400),
        ("POST", format!("/v2/apis/{id}/routes"), json!({"routeKey": "GET /x", "apiKeyRequired": true}), 400),
        (
            "POST",
            format!("/v2/apis/{id}/routes"),
            json!({"routeKey": "GET /x", "target": "integrations/no"}),
            404,
        ),
        ("GET", "/v2/domainnames".to_owned(), Value::Null, 403),
    ] {
        let (found, answer) = stand.manage(method, &path, body).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
    }
    let target = stand.integration(&id, "work", json!({})).await;
    stand.route(&id, "GET /x", &target, json!({})).await;
    assert_eq!(stand.manage("DELETE", &format!("/v2/apis/{id}/{target}"), Value::Null).await.0, 409);
}

#[tokio::test]
async fn what_is_beyond_a_quota_is_refused() {
    let stand = Stand::start(|_, _| None).await;
    let (id, _) = api(&stand, "GET /x", json!({}), json!({})).await;
    let many = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let authorizer = |audiences: usize| {
        json!({"name": format!("a{audiences}"), "authorizerType": "JWT",
            "identitySource": ["$request.header.Authorization"],
            "jwtConfiguration": {"issuer": "http://127.0.0.1:1", "audience": many(audiences)}})
    };
    let authorizers = format!("/v2/apis/{id}/authorizers");
    let tokens = stand.create(&authorizers, authorizer(50), "authorizerId").await;
    let scoped = |scopes: usize| {
        json!({"routeKey": format!("GET /{scopes}"), "authorizationType": "JWT", "authorizerId": tokens,
            "authorizationScopes": many(scopes)})
    };
    let variables = |count: usize| {
        let values = many(count).into_iter().map(|name| (name, json!("v")));
        json!({"stageVariables": Value::Object(values.collect())})
    };
    let variable = |key: usize, value: usize| json!({"stageVariables": {"k".repeat(key): "v".repeat(value)}});
    let log = |bytes: usize| {
        let format = format!("{:-<bytes$}", "$context.requestId");
        let group = "arn:aws:logs:us-east-1:123456789012:log-group:/access";
        json!({"accessLogSettings": {"destinationArn": group, "format": format}})
    };
    stand.stage(&id, "other").await;
    let of_stage = |name: &str| format!("/v2/apis/{id}/stages/{name}");
    let (routes, stage, other) = (format!("/v2/apis/{id}/routes"), of_stage("$default"), of_stage("other"));
    for (method, path, body, expected) in [
        ("POST", &authorizers, authorizer(51), 400),
        ("POST", &routes, scoped(10), 201),
        ("POST", &routes, scoped(11), 400),
        ("PATCH", &stage, variables(100), 200),
        ("PATCH", &stage, variables(101), 400),
        ("PATCH", &other, variable(64, 512), 200),
        ("PATCH", &other, variable(65, 1), 400),
        ("PATCH", &other, variable(1, 513), 400),
        ("PATCH", &stage, log(3_072), 200),
        ("PATCH", &stage, log(3_073), 400),
    ] {
        let (status, answer) = stand.manage(method, path, body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
    let deployments = format!("/v2/apis/{id}/deployments");
    let mut made = 0;
    while stand.manage("POST", &deployments, json!({})).await.0 == 201 {
        made += 1;
        assert!(made <= 1_000, "without end");
    }
    let (_, all) = stand.manage("GET", &deployments, Value::Null).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn quick_create_makes_an_api_that_answers_at_once() {
    let stand = Stand::start(|_, _| answered(json!({"statusCode": 200, "body": "hello"}))).await;
    let function = "arn:aws:lambda:us-east-1:123456789012:function:work";
    let quick = |more: Value| {
        let mut body = json!({"name": "quick", "protocolType": "HTTP", "target": function});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let api = stand.create("/v2/apis", quick(json!({})), "apiId").await;
    let url = format!("http://{}/_aws/execute-api/{api}", stand.address);
    assert_eq!(reqwest::get(format!("{url}/any/where")).await.unwrap().text().await.unwrap(), "hello");
    assert_eq!(stand.calls("work")[0]["version"], "2.0");

    let listed = async |kind: &str| {
        let (_, listed) = stand.manage("GET", &format!("/v2/apis/{api}/{kind}"), Value::Null).await;
        listed["items"].as_array().unwrap().clone()
    };
    for (kind, id) in [("routes", "routeId"), ("integrations", "integrationId"), ("stages", "stageName")] {
        let items = listed(kind).await;
        assert_eq!((items.len(), &items[0]["apiGatewayManaged"]), (1, &json!(true)), "{kind}");
        let path = format!("/v2/apis/{api}/{kind}/{}", items[0][id].as_str().unwrap());
        assert_eq!(stand.manage("DELETE", &path, Value::Null).await.0, 400, "{kind}");
        let (status, changed) = stand.manage("PATCH", &path, json!({"apiGatewayManaged": false})).await;
        assert_eq!((status, &changed["apiGatewayManaged"]), (200, &json!(true)), "{kind}");
    }
    let change = json!({"target": function.replace("work", "other"), "routeKey": "GET /other"});
    assert_eq!(stand.manage("PATCH", &format!("/v2/apis/{api}"), change).await.0, 200);
    for (path, status) in [("other", 200), ("any", 404)] {
        assert_eq!(reqwest::get(format!("{url}/{path}")).await.unwrap().status(), status, "{path}");
    }
    assert_eq!(stand.calls("other").len(), 1);
    let before = listed("routes").await;
    let change = json!({"target": "https://example.com", "routeKey": "GET /never"});
    assert_eq!(stand.manage("PATCH", &format!("/v2/apis/{api}"), change).await.0, 400);
    assert_eq!(listed("routes").await, before);
    let keyed = stand.create("/v2/apis", quick(json!({"routeKey": "GET /one"})), "apiId").await;
    let url = format!("http://{}/_aws/execute-api/{keyed}", stand.address);
    assert_eq!(reqwest::get(format!("{url}/one")).await.unwrap().status(), 200);
    assert_eq!(reqwest::get(format!("{url}/two")).await.unwrap().status(), 404);
    assert_eq!(stand.manage("DELETE", &format!("/v2/apis/{api}"), Value::Null).await.0, 204);

    let plain = stand.create("/v2/apis", json!({"name": "plain", "protocolType": "HTTP"}), "apiId").await;
    let change = json!({ "target": function });
    assert_eq!(stand.manage("PATCH", &format!("/v2/apis/{plain}"), change).await.0, 400, "nothing to change");

    // What is refused leaves nothing behind.
    let before = stand.manage("GET", "/v2/apis", Value::Null).await;
    for refused in [
        quick(json!({"target": "https://example.com"})),
        quick(json!({"routeKey": "nowhere"})),
        quick(json!({"protocolType": "WEBSOCKET", "routeSelectionExpression": "$request.body.action"})),
        json!({"name": "quick", "protocolType": "HTTP", "routeKey": "GET /one"}),
    ] {
        assert_eq!(stand.manage("POST", "/v2/apis", refused.clone()).await.0, 400, "{refused}");
    }
    assert_eq!(stand.manage("GET", "/v2/apis", Value::Null).await, before);
}
