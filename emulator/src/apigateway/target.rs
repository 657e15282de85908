//! Which function a URI names, and by whose right it is called.

use super::model::Texts;

/// How a URI names a variable of the stage: `${stageVariables.name}`.
const VARIABLE: &str = "${stageVariables.";

/// The function of an integration or an authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As written, with variables of the stage where `is_variable`.
    function: String,
    is_variable: bool,
    /// The role that API Gateway takes to call it; None: the function's own policy decides.
    pub(super) role: Option<String>,
}

impl Target {
    /// None for what the management API would have refused.
    pub(super) fn compile(uri: Option<&str>, role: Option<&str>) -> Option<Self> {
        let function = lambda_function(uri?)?;
        Some(Self {
            function: function.to_owned(),
            is_variable: function.contains(VARIABLE),
            role: role.map(str::to_owned),
        })
    }

    /// What is called in a stage with these variables.
    pub(super) fn function(&self, variables: &Texts) -> String {
        if self.is_variable { filled_in(&self.function, variables) } else { self.function.clone() }
    }
}

/// A variable that the stage does not have stands for nothing.
fn filled_in(text: &str, variables: &Texts) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(VARIABLE) {
        let Some((name, after)) = after.split_once('}') else { break };
        filled.push_str(before);
        filled.push_str(variables.get(name).map(String::as_str).unwrap_or_default());
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// The function's ARN in `arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations`, or the
/// URI itself where it is an ARN of a function.
pub(super) fn lambda_function(uri: &str) -> Option<&str> {
    if let Some((_, rest)) = uri.split_once(":lambda:path/2015-03-31/functions/") {
        return rest.strip_suffix("/invocations").filter(|arn| !arn.is_empty());
    }
    let mut parts = uri.splitn(7, ':');
    (parts.next() == Some("arn") && parts.nth(1) == Some("lambda") && parts.nth(2) == Some("function"))
        .then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:submit";

    #[test]
    fn both_forms_of_a_lambda_uri_name_the_function() {
        let invoke_arn =
            format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{ARN}/invocations");
        assert_eq!(lambda_function(&invoke_arn), Some(ARN));
        assert_eq!(lambda_function(ARN), Some(ARN));
    }

    #[test]
    fn another_service_is_not_a_function() {
        assert_eq!(lambda_function("arn:aws:sqs:us-east-1:123456789012:queue"), None);
        assert_eq!(lambda_function("https://example.com"), None);
    }

    #[test]
    fn variables_of_the_stage_are_filled_in_wherever_they_stand() {
        let variables = Texts::from([("fn", "submit"), ("alias", "live")].map(|(k, v)| (k.into(), v.into())));
        let called = |tail: &str| {
            let uri = format!("arn:aws:lambda:us-east-1:123456789012:function:{tail}");
            Target::compile(Some(&uri), None).unwrap().function(&variables)
        };
        assert_eq!(called("submit"), ARN);
        assert_eq!(called("${stageVariables.fn}"), ARN);
        assert_eq!(called("${stageVariables.fn}:${stageVariables.alias}"), format!("{ARN}:live"));
        assert_eq!(called("submit:${stageVariables.none}"), format!("{ARN}:"));
        assert_eq!(called("submit:${stageVariables.fn"), format!("{ARN}:${{stageVariables.fn"));
    }
}
