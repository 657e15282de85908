//! Where every service is made. One line each, so that a new service is one more line.

use std::sync::Arc;

use super::registry::Registry;
use super::start::StartError;
use crate::apigateway::Gateway;
use crate::cloudwatch::CloudWatch;
use crate::esm::EventSourceMappings;
use crate::fis::Fis;
use crate::lambda::{self, Lambda};
use crate::scheduler::{AccountTargets, Scheduler};
use crate::settings::Settings;
use crate::sqs::account::Account;
use crate::wire::DataPlane;

/// Everything that answers on the port.
pub struct Assembly {
    pub services: Registry,
    /// Takes `/_aws/execute-api/`; None answers 404 there.
    pub execute_api: Option<Arc<dyn DataPlane>>,
    /// The queues, whose messages come back once the queues themselves are back.
    pub queues: Arc<Account>,
}

impl std::fmt::Debug for Assembly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembly").field("services", &self.services).finish_non_exhaustive()
    }
}

/// Makes all services of one account. Runs inside the runtime, so a service may spawn its own tasks.
pub(super) fn assemble(settings: &Settings, functions: lambda::Options) -> Result<Assembly, StartError> {
    let mut registry = Registry::default();
    let services = &mut registry;
    crate::engines::use_account(settings);
    services.add("iam", crate::engines::iam(settings));
    let cloudwatch = Arc::new(CloudWatch::new(settings));
    services.add("monitoring", Arc::<CloudWatch>::clone(&cloudwatch));
    let s3 = crate::engines::s3(settings);
    services.add("logs", Arc::new(crate::logs::LogsApi::new(settings)));
    services.add("s3", Arc::clone(&s3));
    services.add("ssm", crate::engines::ssm(settings));
    services.add("sts", crate::engines::sts(settings));
    let tables = crate::dynamodb::DynamoDb::new(settings)?;
    settings.iam.set_policy_source("dynamodb", tables.policies());
    services.add("dynamodb", Arc::new(tables));
    let sqs = crate::sqs::Sqs::start(settings.clone());
    let queues = Arc::clone(sqs.account());
    settings.iam.set_policy_source("sqs", Arc::<Account>::clone(&queues));
    services.add("sqs", Arc::new(sqs.clone()));
    let lambda = Lambda::new(settings.clone(), functions).map_err(StartError::Functions)?;
    lambda.set_sqs(sqs.clone());
    lambda.set_s3(s3);
    let fis = Fis::new(settings.clone(), lambda.clone());
    fis.set_alarms(Arc::<CloudWatch>::clone(&cloudwatch));
    services.add("fis", Arc::new(fis));
    let lambda = Arc::new(lambda);
    cloudwatch.set_functions(Arc::<Lambda>::clone(&lambda));
    settings.iam.set_policy_source("lambda", Arc::<Lambda>::clone(&lambda));
    services.add("lambda", Arc::<Lambda>::clone(&lambda));
    let targets = AccountTargets::new(settings.clone(), Arc::<Lambda>::clone(&lambda), sqs);
    services.add("scheduler", Arc::new(Scheduler::new(settings.clone(), Arc::new(targets))));
    let functions = Arc::<Lambda>::clone(&lambda);
    let mappings = Arc::new(EventSourceMappings::new(settings.clone(), Arc::clone(&queues), functions));
    lambda.set_event_source_mappings(Arc::<EventSourceMappings>::clone(&mappings));
    // No caller signs for this name: it is here so that the pollers stop with the services, before Lambda does.
    services.add("event-source-mappings", mappings);
    let gateway = Gateway::new(settings, lambda);
    services.add("apigateway", Arc::new(gateway.clone()));
    Ok(Assembly { services: registry, execute_api: Some(Arc::new(gateway)), queues })
}
