//! The worker function, through the ordinary Lambda API.

use aws_sdk_lambda::client::Waiters;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::Environment;

use super::Stack;

/// An update of code settles within seconds.
const UPDATE_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

pub(crate) struct Worker {
    lambda: aws_sdk_lambda::Client,
    name: String,
}

impl Worker {
    pub(crate) async fn of(stack: &Stack) -> Self {
        let name = stack.description()["functions"]["process-task"]["name"].as_str().unwrap().to_owned();
        Self { lambda: stack.cloud().await.lambda, name }
    }

    /// Sets or removes the variable that only the sabotaged binary reads.
    pub(crate) async fn sabotage(&self, mode: Option<&str>) {
        self.set_variable("TASKS_SABOTAGE", mode).await;
    }

    pub(crate) async fn set_variable(&self, name: &str, value: Option<&str>) {
        let now = self.lambda.get_function_configuration().function_name(&self.name).send().await.unwrap();
        let mut variables = now.environment.and_then(|environment| environment.variables).unwrap_or_default();
        match value {
            Some(value) => variables.insert(name.to_owned(), value.to_owned()),
            None => variables.remove(name),
        };
        let environment = Environment::builder().set_variables(Some(variables)).build();
        let update = self.lambda.update_function_configuration().function_name(&self.name);
        update.environment(environment).send().await.unwrap();
        self.settled().await;
    }

    pub(crate) async fn replace(&self, zip: Vec<u8>) {
        let update = self.lambda.update_function_code().function_name(&self.name).zip_file(Blob::new(zip));
        update.send().await.unwrap();
        self.settled().await;
    }

    async fn settled(&self) {
        let updated = self.lambda.wait_until_function_updated_v2().function_name(&self.name);
        updated.wait(UPDATE_LIMIT).await.unwrap();
    }
}
