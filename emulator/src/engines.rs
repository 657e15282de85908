//! Services on which we add no behaviour, served by engines of others through one adapter.

mod access_keys;
mod access_lists;
mod adapter;
mod body_digests;
mod bucket_policies;
mod bucket_settings;
mod iam_answers;
mod identities;
mod list_pages;
mod object_calls;
mod object_headers;
mod object_keys;
mod object_lists;
mod object_tags;
mod object_versions;
mod parameters;
mod part_copies;
mod public_parameters;
mod version_lists;

use std::sync::Arc;

use winterbaume_iam::IamService;
use winterbaume_s3::S3Service;
use winterbaume_ssm::SsmService;
use winterbaume_sts::StsService;

use self::access_keys::AccessKeys;
use self::adapter::{Engine, Scope};
use self::body_digests::BodyDigests;
use self::bucket_policies::BucketPolicies;
use self::bucket_settings::BucketSettings;
pub(crate) use self::bucket_settings::is_made_with_locks;
use self::iam_answers::IamAnswers;
use self::identities::Identities;
use self::object_headers::ObjectHeaders;
use self::object_tags::ObjectTags;
use self::object_versions::ObjectVersions;
use self::parameters::Parameters;
use self::public_parameters::PublicParameters;
use crate::iam::{IamApi, StsApi};
use crate::settings::Settings;
use crate::wire::Service;

/// The engines know one account per process: the first emulator of a process decides.
pub fn use_account(settings: &Settings) {
    winterbaume_core::set_default_account_id(&*settings.account_id);
}

/// IAM, whose roles and policies decide what functions may do.
#[must_use]
pub fn iam(settings: &Settings) -> Arc<dyn Service> {
    let engine = Arc::new(IamService::new());
    let stored = Arc::clone(&engine);
    let front = Engine::new("iam", Scope::Global, stored);
    let front = Identities::new(front, Arc::clone(&engine), &settings.account_id);
    let front = IamAnswers::new(AccessKeys::new(front, Arc::clone(&engine), settings));
    Arc::new(IamApi::new(settings.iam.clone(), engine, Arc::new(front)))
}

/// STS, which tells who one is and gives out sessions of IAM's roles.
#[must_use]
pub fn sts(settings: &Settings) -> Arc<dyn Service> {
    let engine = Arc::new(Engine::new("sts", Scope::Global, Arc::new(StsService::new())));
    Arc::new(StsApi::new(settings, engine))
}

/// S3, whose buckets' policies are judged by.
#[must_use]
pub fn s3(settings: &Settings) -> Arc<dyn Service> {
    let engine = ObjectTags::new(Engine::new("s3", Scope::Regional, Arc::new(S3Service::new())));
    let s3 = BucketPolicies::new(ObjectHeaders::new(engine));
    settings.iam.set_policy_source("s3", s3.known());
    let s3 = BodyDigests::new(ObjectVersions::new(s3, settings.random.clone()));
    Arc::new(BucketSettings::new(s3))
}

/// SSM with the public parameters that AWS keeps in every account.
#[must_use]
pub fn ssm(settings: &Settings) -> Arc<dyn Service> {
    let engine = Engine::new("ssm", Scope::Regional, Arc::new(SsmService::new()));
    Arc::new(PublicParameters::new(settings, Parameters::new(settings, engine)))
}
