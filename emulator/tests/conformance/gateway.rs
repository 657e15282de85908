//! API Gateway v2.

use aws_sdk_apigatewayv2::Client;
use aws_sdk_apigatewayv2::types::ProtocolType;

use crate::world::{Made, World};

pub(crate) async fn what_is_not_there_has_the_error_of_its_protocol(world: &World) {
    let gateway = Client::new(&world.config);
    let error = gateway.get_api().api_id("none000000").send().await.unwrap_err();
    assert!(error.into_service_error().is_not_found_exception());
    let made =
        gateway.create_api().name(world.name("api")).protocol_type(ProtocolType::Http).send().await.unwrap();
    let id = made.api_id.unwrap();
    world.made(Made::Api(id.clone()));
    let error = gateway.get_route().api_id(&id).route_id("none").send().await.unwrap_err();
    assert!(error.into_service_error().is_not_found_exception());
    let bad = gateway.create_route().api_id(&id).route_key("not a route key").send().await.unwrap_err();
    assert!(bad.into_service_error().is_bad_request_exception());
    let twice = || gateway.create_route().api_id(&id).route_key("GET /x").send();
    twice().await.unwrap();
    assert!(twice().await.unwrap_err().into_service_error().is_conflict_exception());
    gateway.delete_api().api_id(&id).send().await.unwrap();
    let error = gateway.delete_api().api_id(&id).send().await.unwrap_err();
    assert!(error.into_service_error().is_not_found_exception());
}

pub(crate) async fn an_api_answers_404_where_it_has_no_route(world: &World) {
    let gateway = Client::new(&world.config);
    let made =
        gateway.create_api().name(world.name("api")).protocol_type(ProtocolType::Http).send().await.unwrap();
    let (id, endpoint) = (made.api_id.unwrap(), made.api_endpoint.unwrap());
    world.made(Made::Api(id.clone()));
    gateway.create_stage().api_id(&id).stage_name("$default").auto_deploy(true).send().await.unwrap();
    let answer = reqwest::get(format!("{endpoint}/none")).await.unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.headers().contains_key("apigw-requestid"));
    assert_eq!(answer.text().await.unwrap(), r#"{"message":"Not Found"}"#);
}
