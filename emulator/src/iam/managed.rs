//! Policies that AWS keeps in every account, as far as roles of functions use them.

use std::collections::HashMap;

use serde_json::{Value, json};
use winterbaume_iam::IamStateView;
use winterbaume_iam::views::{ManagedPolicyView, PolicyVersionView};

/// Where AWS's own policies lie; the path and the name follow.
pub(crate) const ARN_PREFIX: &str = "arn:aws:iam::aws:policy/";

const LOGS: [&str; 3] = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"];

const NETWORK_INTERFACES: [&str; 5] = [
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
];

/// Name with path, and what it allows on everything.
fn all() -> Vec<(&'static str, Vec<&'static str>)> {
    let with_logs = |actions: &[&'static str]| [actions, &LOGS].concat();
    vec![
        ("AdministratorAccess", vec!["*"]),
        ("AmazonDynamoDBFullAccess", vec!["dynamodb:*"]),
        (
            "AmazonDynamoDBReadOnlyAccess",
            vec![
                "dynamodb:BatchGet*",
                "dynamodb:Describe*",
                "dynamodb:List*",
                "dynamodb:Get*",
                "dynamodb:Query",
                "dynamodb:Scan",
                "dynamodb:PartiQLSelect",
            ],
        ),
        ("AmazonS3FullAccess", vec!["s3:*"]),
        ("AmazonS3ReadOnlyAccess", vec!["s3:Get*", "s3:List*", "s3:Describe*"]),
        ("AmazonSQSFullAccess", vec!["sqs:*"]),
        ("AmazonSSMReadOnlyAccess", vec!["ssm:Describe*", "ssm:Get*", "ssm:List*"]),
        (
            "AWSXRayDaemonWriteAccess",
            vec![
                "xray:PutTraceSegments",
                "xray:PutTelemetryRecords",
                "xray:GetSamplingRules",
                "xray:GetSamplingTargets",
                "xray:GetSamplingStatisticSummaries",
            ],
        ),
        ("CloudWatchLogsFullAccess", vec!["logs:*"]),
        ("service-role/AWSLambdaBasicExecutionRole", LOGS.to_vec()),
        ("AWSXrayReadOnlyAccess", vec!["xray:BatchGet*", "xray:Get*", "xray:List*"]),
        ("AmazonAPIGatewayInvokeFullAccess", vec!["execute-api:Invoke", "execute-api:ManageConnections"]),
        ("CloudWatchLambdaInsightsExecutionRolePolicy", LOGS.to_vec()),
        (
            "service-role/AmazonAPIGatewayPushToCloudWatchLogs",
            with_logs(&[
                "logs:DescribeLogGroups",
                "logs:DescribeLogStreams",
                "logs:GetLogEvents",
                "logs:FilterLogEvents",
            ]),
        ),
        ("service-role/AWSLambdaENIManagementAccess", NETWORK_INTERFACES.to_vec()),
        (
            "service-role/AWSLambdaVPCAccessExecutionRole",
            [&LOGS[..], &NETWORK_INTERFACES, &["ec2:DescribeSubnets"]].concat(),
        ),
        (
            "service-role/AWSLambdaKinesisExecutionRole",
            with_logs(&[
                "kinesis:DescribeStream",
                "kinesis:DescribeStreamSummary",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
                "kinesis:ListStreams",
                "kinesis:SubscribeToShard",
            ]),
        ),
        ("service-role/AWSLambdaRole", vec!["lambda:InvokeFunction"]),
        (
            "service-role/AWSLambdaSQSQueueExecutionRole",
            with_logs(&["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]),
        ),
        (
            "service-role/AWSLambdaDynamoDBExecutionRole",
            with_logs(&[
                "dynamodb:DescribeStream",
                "dynamodb:GetRecords",
                "dynamodb:GetShardIterator",
                "dynamodb:ListStreams",
            ]),
        ),
    ]
}

/// A piece of IAM's state with these policies in it.
pub(super) fn state() -> IamStateView {
    let policies = all()
        .into_iter()
        .map(|(name, actions)| (format!("{ARN_PREFIX}{name}"), view(name, &actions)))
        .collect();
    IamStateView { policies, ..IamStateView::default() }
}

fn view(name: &str, actions: &[&str]) -> ManagedPolicyView {
    let (path, name_alone) =
        name.split_once('/').map_or(("/".to_owned(), name), |(path, name)| (format!("/{path}/"), name));
    let document = document(actions).to_string();
    ManagedPolicyView {
        policy_name: name_alone.to_owned(),
        policy_id: format!("ANPA{}", name_alone.to_ascii_uppercase()),
        arn: format!("{ARN_PREFIX}{name}"),
        path,
        default_version_id: "v1".to_owned(),
        description: String::new(),
        create_date: None,
        update_date: None,
        is_attachable: true,
        document: document.clone(),
        versions: vec![PolicyVersionView {
            version_id: "v1".to_owned(),
            document,
            is_default_version: true,
            create_date: None,
        }],
        tags: HashMap::new(),
        attachment_count: 0,
    }
}

fn document(actions: &[&str]) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
    })
}
