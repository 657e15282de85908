//! Creating, reading, updating and deleting functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::code::Code;
use super::error::LambdaError;
use super::exec::{Pool, Spec};
use super::input::{checked_architectures, created, one_of, refuse_unsupported_creation, updated};
use super::model::{CodeInput, ConfigInput, CreateInput, FunctionConfig, Phase, UpdateCodeInput};
use super::names::{FunctionRef, is_alias, is_name};
use super::rate::InvocationRate;
use super::router::{Answer, Call, empty, json};
use super::store::{Function, LATEST, SETTLE_MS, Version};
use super::{Lambda, is_older_call, permission, publish, tags};
use crate::repeatable;
use crate::wire::AwsRequest;

/// AWS quota: a package sent in the request. One from S3 is bound by its unpacked size alone.
pub(super) const UPLOAD_MAX_BYTES: usize = 52_428_800;
/// AWS default of ListFunctions and ListVersionsByFunction, and its maximum.
const PAGE_MAX: usize = 50;
/// The first rules by which a change that does not name the variables leaves them as they are.
const RULES_OF_VARIABLES: u32 = 3;

impl Lambda {
    pub(crate) fn function_arn(&self, name: &str) -> String {
        let settings = &self.inner.host.settings;
        format!("arn:aws:lambda:{}:{}:function:{name}", settings.region, settings.account_id)
    }

    /// A version of `name`, ready to start environments.
    pub(crate) fn version(
        &self,
        name: &str,
        number: &str,
        config: FunctionConfig,
        code: Arc<Code>,
        active_at_ms: i64,
    ) -> Arc<Version> {
        let host = &self.inner.host;
        let credentials = host.settings.iam.issue(&host.settings.random, &config.role, name);
        let arn = self.function_arn(name);
        let arn = if number == LATEST { arn } else { format!("{arn}:{number}") };
        let spec = Spec {
            name: name.to_owned(),
            version: number.to_owned(),
            arn,
            config,
            code,
            credentials,
            host: Arc::clone(host),
        };
        Arc::new(Version {
            pool: Pool::new(spec),
            first_revision_id: self.new_revision(),
            revision_id: self.new_revision(),
            modified_ms: self.now_ms(),
            active_at_ms,
        })
    }

    /// Another revision for the function, a version or an alias, as each change of it or of its policy gives it.
    pub(crate) fn renew(&self, found: &mut Function, qualifier: Option<&str>) {
        // Calls that were made after it may name the revision that it left alone.
        if is_older_call() {
            return;
        }
        if let Some(revision_id) = found.revision_mut(qualifier, self.now_ms()) {
            *revision_id = self.new_revision();
        }
    }

    pub(crate) fn missing(&self, function: &FunctionRef) -> LambdaError {
        let arn = self.function_arn(&function.name);
        let arn = function.qualifier.as_ref().map_or(arn.clone(), |qualifier| format!("{arn}:{qualifier}"));
        LambdaError::function_not_found(&arn)
    }

    /// The package's bytes, from the request or from S3.
    async fn package(&self, input: &CodeInput) -> Result<Vec<u8>, LambdaError> {
        if input.image_uri.is_some() {
            return Err(LambdaError::invalid_parameter(
                "Container images are not supported by the emulator.",
            ));
        }
        if input.s3_object_version.is_some() {
            return Err(LambdaError::invalid_parameter("S3ObjectVersion is not supported by the emulator."));
        }
        if let Some(encoded) = &input.zip_file {
            return uploaded(encoded);
        }
        let (Some(bucket), Some(key)) = (&input.s3_bucket, &input.s3_key) else {
            return Err(LambdaError::invalid_parameter("Please provide a source for function code."));
        };
        if !is_bucket(bucket) && !repeatable::is_repeated() {
            let rule = r"Member must satisfy regular expression pattern: ^[0-9A-Za-z\.\-_]*(?<!\.)$";
            return Err(LambdaError::validation(bucket, "s3Bucket", rule));
        }
        self.object(bucket, key).await
    }

    /// Whoever asks for it may read it: that was judged.
    async fn object(&self, bucket: &str, key: &str) -> Result<Vec<u8>, LambdaError> {
        let failed = |code: &str, message: &str| {
            LambdaError::invalid_parameter(format!(
                "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
            ))
        };
        let no_bucket = || failed("NoSuchBucket", "The specified bucket does not exist");
        let s3 = self.inner.peers.s3.get().ok_or_else(no_bucket)?;
        let key: Vec<String> =
            key.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
        let request = AwsRequest {
            method: Method::GET,
            path: format!("/{bucket}/{}", key.join("/")),
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            service: "s3".into(),
            region: self.inner.host.settings.region.to_string(),
            access_key_id: String::new(),
        };
        let response = s3.handle(request).await;
        if response.status != StatusCode::OK {
            let said = String::from_utf8_lossy(&response.body);
            return Err(failed(element(&said, "Code"), element(&said, "Message")));
        }
        Ok(response.body.to_vec())
    }

    async fn unpack(&self, input: &CodeInput) -> Result<Arc<Code>, LambdaError> {
        let package = self.package(input).await?;
        let root = self.inner.host.root.clone();
        tokio::task::spawn_blocking(move || Code::unpack(&root, &package))
            .await
            .map_err(|error| LambdaError::service(error.to_string()))?
            .map(Arc::new)
    }
}

/// As Lambda takes a bucket's name: in a path nothing of it stands for something else.
fn is_bucket(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    name.bytes().all(is_letter) && !name.ends_with('.')
}

/// What stands in the first element of that name of an error of S3.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let behind = xml.split_once(&format!("<{name}>")).map_or("", |(_, behind)| behind);
    behind.split('<').next().unwrap_or_default()
}

/// A package sent in the request.
fn uploaded(encoded: &str) -> Result<Vec<u8>, LambdaError> {
    let package = STANDARD.decode(encoded).map_err(|_| {
        LambdaError::invalid_parameter(
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        )
    })?;
    if package.len() > UPLOAD_MAX_BYTES {
        return Err(LambdaError::too_large(format!(
            "Zipped size must be smaller than {UPLOAD_MAX_BYTES} bytes"
        )));
    }
    Ok(package)
}

pub(crate) async fn create(lambda: &Lambda, call: &Call<'_>) -> Answer {
    let input: CreateInput = call.body()?;
    let given = input.function_name.clone().unwrap_or_default();
    let name = FunctionRef::parse(&given)
        .map(|function| function.name)
        .filter(|name| is_name(name))
        .ok_or_else(|| {
            LambdaError::validation(
                &given,
                "functionName",
                "Member must have length less than or equal to 64 and be a function name or ARN",
            )
        })?;
    refuse_unsupported_creation(&input)?;
    let config = created(&input.config, input.architectures.as_deref())?;
    let tags = input.tags.clone().unwrap_or_default();
    tags::check(&tags)?;
    let exists = || LambdaError::conflict(format!("Function already exist: {name}"));
    if lambda.store().functions.contains_key(&name) {
        return Err(exists());
    }
    permission::check_config(lambda, &name, &config)?;
    let code = lambda.unpack(&input.code.clone().unwrap_or_default()).await?;
    let now_ms = lambda.now_ms();
    let active_at_ms = now_ms + SETTLE_MS;
    let version = lambda.version(&name, LATEST, config, code, active_at_ms);
    let mut store = lambda.store();
    if store.functions.contains_key(&name) {
        return Err(exists());
    }
    let mut function = Function {
        arn: lambda.function_arn(&name),
        latest: version,
        next: None,
        versions: BTreeMap::new(),
        last_version: 0,
        published: None,
        aliases: BTreeMap::new(),
        reserved: None,
        tags,
        policies: BTreeMap::new(),
        event_configs: BTreeMap::new(),
        running: Arc::default(),
        rate: InvocationRate::default(),
    };
    let mut shown = function.describe(now_ms);
    if input.publish == Some(true) {
        shown = publish::publish_now(lambda, &mut function, None, active_at_ms).describe(now_ms);
        // AWS shows the number of the version, but the ARN of the function.
        shown["FunctionArn"] = json!(function.arn);
    }
    store.functions.insert(name, function);
    Ok(json(StatusCode::CREATED, &shown))
}

/// Runs `with` on an existing function.
pub(crate) fn on_function<T>(
    lambda: &Lambda,
    function: &FunctionRef,
    with: impl FnOnce(&mut Function, i64) -> Result<T, LambdaError>,
) -> Result<T, LambdaError> {
    let now_ms = lambda.now_ms();
    let mut store = lambda.store();
    let found = store.get(&function.name, now_ms).ok_or_else(|| lambda.missing(function))?;
    with(found, now_ms)
}

fn shown(
    lambda: &Lambda,
    function: &FunctionRef,
    found: &Function,
    now_ms: i64,
) -> Result<Value, LambdaError> {
    let Some(qualifier) = function.qualifier.as_deref() else { return Ok(found.describe(now_ms)) };
    let mut shown = if qualifier == LATEST {
        found.describe(now_ms)
    } else {
        found.version(Some(qualifier)).ok_or_else(|| lambda.missing(function))?.describe(now_ms)
    };
    shown["FunctionArn"] = json!(format!("{}:{qualifier}", found.arn));
    Ok(shown)
}

pub(crate) fn get(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    on_function(lambda, &function, |found, now_ms| {
        let settings = &lambda.inner.host.settings;
        let location = format!(
            "https://awslambda-{0}-tasks.s3.{0}.amazonaws.com/snapshots/{1}/{2}",
            settings.region, settings.account_id, function.name
        );
        let mut out = json!({
            "Configuration": shown(lambda, &function, found, now_ms)?,
            "Code": {"RepositoryType": "S3", "Location": location},
        });
        if !found.tags.is_empty() {
            out["Tags"] = json!(found.tags);
        }
        if let Some(reserved) = found.reserved {
            out["Concurrency"] = json!({"ReservedConcurrentExecutions": reserved});
        }
        Ok(json(StatusCode::OK, &out))
    })
}

pub(crate) fn get_configuration(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    on_function(lambda, &function, |found, now_ms| {
        Ok(json(StatusCode::OK, &shown(lambda, &function, found, now_ms)?))
    })
}

pub(crate) fn list(lambda: &Lambda, call: &Call<'_>) -> Answer {
    let now_ms = lambda.now_ms();
    let size = page_size(call)?;
    let wanted = call.query.get("FunctionVersion");
    if let Some(wanted) = wanted {
        one_of(wanted, "functionVersion", &["ALL"])?;
    }
    let after = call.query.get("Marker").map(|marker| Listed::parse(marker));
    let mut store = lambda.store();
    let mut later: Vec<Listed> = store.functions.iter().flat_map(Listed::all).collect();
    later.retain(|listed| wanted.is_some() || listed.version == 0);
    later.retain(|listed| after.as_ref().is_none_or(|after| listed > after));
    let mut functions = Vec::new();
    for listed in later.iter().take(size) {
        if let Some(found) = store.get(&listed.name, now_ms) {
            functions.push(listed.describe(found, wanted.is_some(), now_ms));
        }
    }
    let mut out = json!({"Functions": functions});
    if let (Some(last), true) = (later.get(size - 1), later.len() > size) {
        out["NextMarker"] = json!(last.marker());
    }
    Ok(json(StatusCode::OK, &out))
}

/// One entry of the list of functions, in its order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    name: String,
    /// 0 for `$LATEST`, which comes first.
    version: u64,
}

impl Listed {
    fn all((name, function): (&String, &Function)) -> Vec<Self> {
        let versions = std::iter::once(0).chain(function.versions.keys().copied());
        versions.map(|version| Self { name: name.clone(), version }).collect()
    }

    fn marker(&self) -> String {
        format!("{}:{}", self.name, self.version)
    }

    fn parse(marker: &str) -> Self {
        let (name, version) = marker.split_once(':').unwrap_or((marker, ""));
        Self { name: name.to_owned(), version: version.parse().unwrap_or_default() }
    }

    /// In a list of versions each has its number in its ARN, `$LATEST` too.
    fn describe(&self, found: &Function, with_versions: bool, now_ms: i64) -> Value {
        if let Some(version) = found.versions.get(&self.version) {
            return version.describe(now_ms);
        }
        let mut latest = found.describe(now_ms);
        if with_versions {
            latest["FunctionArn"] = json!(format!("{}:{LATEST}", found.arn));
        }
        latest
    }
}

pub(crate) fn page_size(call: &Call<'_>) -> Result<usize, LambdaError> {
    let Some(given) = call.query.get("MaxItems") else { return Ok(PAGE_MAX) };
    match given.parse::<usize>() {
        Ok(size) if size > 0 => Ok(size.min(PAGE_MAX)),
        _ => Err(LambdaError::validation(
            given,
            "maxItems",
            "Member must have value greater than or equal to 1",
        )),
    }
}

pub(crate) fn delete(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let mut store = lambda.store();
    let found = store.functions.get_mut(&function.name).ok_or_else(|| lambda.missing(&function))?;
    match function.qualifier.as_deref() {
        None => {
            found.pools().for_each(|pool| pool.close());
            store.functions.remove(&function.name);
        }
        Some(LATEST) => {
            return Err(LambdaError::invalid_parameter(
                "$LATEST version cannot be deleted without deleting the function.",
            ));
        }
        // An older emulator took its name for a version that does not exist.
        Some(alias) if is_alias(alias) && !repeatable::is_repeated() => {
            return Err(LambdaError::invalid_parameter("Deletion of aliases is not currently supported."));
        }
        Some(number) => {
            // As it is shown, and as aliases name it: `01` is 1.
            let number =
                number.parse::<u64>().map_or_else(|_| number.to_owned(), |number| number.to_string());
            let naming = found.aliases.iter().filter(|(_, alias)| alias.names(&number));
            let aliases: Vec<&str> = naming.map(|(name, _)| name.as_str()).collect();
            if !aliases.is_empty() {
                return Err(LambdaError::conflict(format!(
                    "Unable to delete version because the following aliases reference it: [{}]",
                    aliases.join(", ")
                )));
            }
            let gone = number.parse().ok().and_then(|number: u64| found.versions.remove(&number));
            // AWS: deleting a version that does not exist succeeds.
            if let Some(version) = gone {
                version.pool.close();
            }
        }
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// An update is refused while another is in progress, and when the caller's revision is not the newest.
pub(crate) fn may_update(found: &Function, now_ms: i64, revision: Option<&str>) -> Result<(), LambdaError> {
    match found.phase(now_ms) {
        Phase::Ready => {}
        Phase::Updating => {
            return Err(LambdaError::conflict(format!(
                "The operation cannot be performed at this time. An update is in progress for resource: {}",
                found.arn
            )));
        }
        Phase::Pending => {
            return Err(LambdaError::conflict(format!(
                "The operation cannot be performed at this time. The function is currently in the following state: Pending, resource: {}",
                found.arn
            )));
        }
    }
    if revision.is_some_and(|revision| revision != found.revision_id(now_ms)) {
        return Err(LambdaError::stale_revision());
    }
    Ok(())
}

pub(crate) fn update_configuration(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let input: ConfigInput = call.body()?;
    on_function(lambda, &function, |found, now_ms| {
        may_update(found, now_ms, input.revision_id.as_deref())?;
        let spec = &found.latest.pool.spec;
        let mut config = updated(spec.config.clone(), &input)?;
        // Taking the variables away leaves no trace, which is what Terraform reads back.
        if input.environment.is_some() || repeatable::is_older_than(RULES_OF_VARIABLES) {
            config.environment = config.environment.filter(|variables| !variables.is_empty());
        }
        permission::check_config(lambda, &function.name, &config)?;
        let (code, active_at_ms) = (Arc::clone(&spec.code), now_ms + SETTLE_MS);
        found.next = Some(lambda.version(&function.name, LATEST, config, code, active_at_ms));
        Ok(json(StatusCode::OK, &found.describe(now_ms)))
    })
}

pub(crate) async fn update_code(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    let input: UpdateCodeInput = call.body()?;
    let revision = input.revision_id.as_deref();
    on_function(lambda, &function, |found, now_ms| may_update(found, now_ms, revision))?;
    let code = lambda.unpack(&input.code).await?;
    on_function(lambda, &function, |found, now_ms| {
        may_update(found, now_ms, revision)?;
        let mut config = found.latest.pool.spec.config.clone();
        if input.architectures.is_some() {
            config.architectures = checked_architectures(input.architectures.as_deref())?;
        }
        let active_at_ms = now_ms + SETTLE_MS;
        let version = lambda.version(&function.name, LATEST, config, code, active_at_ms);
        if input.dry_run == Some(true) {
            return Ok(json(StatusCode::OK, &version.describe(active_at_ms)));
        }
        found.next = Some(version);
        if input.publish == Some(true) {
            let published = publish::publish_now(lambda, found, None, active_at_ms);
            return Ok(json(StatusCode::OK, &published.describe(now_ms)));
        }
        Ok(json(StatusCode::OK, &found.describe(now_ms)))
    })
}

pub(crate) fn code_signing(lambda: &Lambda, call: &Call<'_>, name: &str) -> Answer {
    let function = call.function(name)?;
    on_function(lambda, &function, |_, _| Ok(json(StatusCode::OK, &json!({"FunctionName": function.name}))))
}
