//! `paceline.v1.PublishService`: checks bundles, keeps them in the ledger for good, and announces them.
//!
//! The commit is what publishes. A caller that heard nothing repeats the call; what was committed and not announced is announced by itself.

use std::sync::Arc;

use paceline_kit::access::Caller;
use paceline_kit::clock::Clock;
use paceline_kit::identity::is_name;
use paceline_kit::said::said;
use paceline_ledger::{Ledger, NewVersion, PublishedVersion, Publishing};
use paceline_store::Announced;
use paceline_templates::{Candidate, FALLBACKS_MAX, Files, Finding, Template};
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1::publish_service_server::PublishService;
use paceline_wire::{convert, v1};
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

use crate::announce::{AnnounceError, Announcer, BOUNDS};
use crate::asked::{of_ledger, of_store};

/// Bundles that are checked at one time. A hostile one takes a second to compile: what else this process does must not wait for it.
const AT_ONE_TIME: usize = 1;
const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;
/// As many as a directory of templates may have.
const PUBLISHED_WITH_MAX: usize = 2_000;
const NAME_PROBLEM: &str = "must be 1 to 64 of [a-z0-9_-]";

/// The service.
pub(crate) struct PublishOf {
    ledger: Ledger,
    announcer: Announcer,
    clock: Arc<dyn Clock>,
    turns: Arc<Semaphore>,
}

impl PublishOf {
    pub(crate) fn new(ledger: Ledger, announcer: Announcer, clock: Arc<dyn Clock>) -> Self {
        Self {
            ledger,
            announcer,
            clock,
            turns: Arc::new(Semaphore::new(AT_ONE_TIME)),
        }
    }

    /// Compiling is work for a processor: not on the runtime's own threads.
    async fn on_worker<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        // Never closed. A caller that goes while it waits has no work started for it.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, "the check of a bundle ended badly");
            RpcError::new(Code::Internal, reason::INTERNAL, "the check ended badly")
        })
    }

    /// The bundle, if it may be published. Fallbacks that these templates are part of are not looked at.
    async fn checked(&self, files: Files, published_with: &[String]) -> Result<Candidate, RpcError> {
        let read = self.on_worker(move || Candidate::read(&files)).await?;
        let candidate = read.map_err(|findings| forbidden(&findings))?;
        let Some(others) = self.fallbacks(&candidate.template, published_with).await? else {
            return Ok(candidate);
        };
        match candidate.check_fallbacks(others) {
            findings if findings.is_empty() => Ok(candidate),
            findings => Err(forbidden(&findings)),
        }
    }

    /// The newest published versions of its fallbacks, one behind the other, as far as there are any; `None` if one of `published_with` is to be
    /// among them.
    async fn fallbacks(
        &self,
        template: &Template,
        published_with: &[String],
    ) -> Result<Option<Vec<Arc<Template>>>, RpcError> {
        let mut found: Vec<Arc<Template>> = Vec::new();
        while found.len() < FALLBACKS_MAX {
            let last = found.last().map_or(template, |last| last);
            let Some(name) = last.manifest().fallback.clone() else {
                break;
            };
            if published_with.contains(&name) {
                return Ok(None);
            }
            let bundle = self.ledger.published_bundle(&name, None).await;
            let Some(bundle) = bundle.map_err(|error| of_ledger(&error))? else {
                break;
            };
            let compiled = self.on_worker(move || Template::from_bundle_bytes(&bundle));
            let Ok(fallback) = compiled.await? else {
                let problem = format!(
                    "the fallback `{name}` is published, and this release can't use its newest version: publish another one"
                );
                return Err(InvalidFields::one("files.template.toml", problem).into());
            };
            found.push(Arc::new(fallback));
        }
        Ok(Some(found))
    }

    /// Writes the version, unless it is only asked whether it may be; then what is there, and whether it was before.
    async fn write(
        &self,
        version: NewVersion,
        validate_only: bool,
    ) -> Result<(PublishedVersion, bool), RpcError> {
        let outcome = if validate_only {
            self.ledger.may_publish(&version, BOUNDS).await
        } else {
            self.ledger.publish(&version, BOUNDS).await
        };
        let outcome = outcome.map_err(|error| of_ledger(&error))?;
        let PublishedVersion {
            name,
            version: number,
            ..
        } = &version.told;
        let refused = |code, reason, problem: String| {
            Err(RpcError::new(code, reason, format!("{name} {number}: {problem}")))
        };
        let raise = "raise `version` in template.toml";
        match outcome {
            Publishing::Done => Ok((version.told, false)),
            Publishing::Already(there) => Ok((there, true)),
            Publishing::VersionTaken => {
                let problem = format!("this version was published with other content; {raise}");
                refused(Code::AlreadyExists, reason::VERSION_TAKEN, problem)
            }
            Publishing::Outdated => {
                let problem = format!(
                    "{} newer versions are published, which are those that are used; {raise}",
                    BOUNDS.newest
                );
                refused(Code::FailedPrecondition, reason::VERSION_OUTDATED, problem)
            }
            Publishing::TemplatesFull => {
                let problem = format!(
                    "{} templates are published, the most that can be",
                    BOUNDS.templates_max
                );
                refused(Code::ResourceExhausted, reason::TEMPLATES_FULL, problem)
            }
            Publishing::VersionsFull => {
                let problem = format!(
                    "{} versions of it are published, the most that can be; give the template another name",
                    BOUNDS.versions_max
                );
                refused(Code::ResourceExhausted, reason::TEMPLATES_FULL, problem)
            }
        }
    }
}

impl PublishOf {
    /// Announces what was published, by files with the hash `authored`.
    async fn announce(
        &self,
        published: &PublishedVersion,
        already: bool,
        authored: [u8; 32],
    ) -> Result<(), RpcError> {
        let PublishedVersion {
            name, version, who, ..
        } = published;
        tracing::info!(template = name, version, who, already, "a template is published");
        let hash = published.hash.as_slice().try_into().map_err(|_| {
            let message = "the ledger's hash of the version is none";
            RpcError::new(Code::Internal, reason::INTERNAL, message)
        })?;
        let version = Announced {
            name: name.clone(),
            version: *version,
            hash,
            authored,
        };
        let announced = self.announcer.announce(&version).await;
        announced.map_err(|error| match error {
            AnnounceError::Ledger(error) => of_ledger(&error),
            AnnounceError::Redis(error) => of_store(&error),
        })
    }
}

#[tonic::async_trait]
impl PublishService for PublishOf {
    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let request = request.into_inner();
        let mut wrong = InvalidFields::new();
        let said = said(&mut wrong, &caller, &request.who, &request.why, self.clock.wall());
        let published_with = request.published_with;
        if published_with.len() > PUBLISHED_WITH_MAX {
            let problem = format!(
                "are {}; at most {PUBLISHED_WITH_MAX} are allowed",
                published_with.len()
            );
            wrong.add("published_with", problem);
        }
        if !request.validate_only && !published_with.is_empty() {
            wrong.add("published_with", "is for validate_only");
        }
        wrong.into_result()?;
        let files = request.files.into_iter();
        let files = files.map(|(path, file)| (path, file.to_vec())).collect();
        let candidate = self.checked(files, &published_with).await?;
        let template = &candidate.template;
        let version = NewVersion {
            told: PublishedVersion {
                name: template.manifest().name.clone(),
                version: template.manifest().version,
                hash: template.hash().0.to_vec(),
                at: said.at,
                who: said.who,
                why: said.why,
            },
            authored: candidate.authored.0.to_vec(),
            bundle: template.bundle_bytes().to_vec(),
        };
        let authored = candidate.authored.0;
        let (published, already) = self.write(version, request.validate_only).await?;
        if !request.validate_only {
            self.announce(&published, already, authored).await?;
        }
        let newest = self.ledger.published(&published.name, None, 1).await;
        let newest = newest.map_err(|error| of_ledger(&error))?;
        Ok(Response::new(v1::PublishResponse {
            newest_version: newest.first().map_or(0, |newest| newest.version),
            template: published.name,
            version: published.version,
            bundle_hash: hex::encode(&published.hash),
            already,
            warnings: candidate.warnings.iter().map(finding).collect(),
        }))
    }

    async fn list_published(
        &self,
        request: Request<v1::ListPublishedRequest>,
    ) -> Result<Response<v1::ListPublishedResponse>, Status> {
        let tells = Caller::of(request.extensions()).acts_for_all();
        let request = request.into_inner();
        let mut wrong = InvalidFields::new();
        if !request.template.is_empty() && !is_name(&request.template) {
            wrong.add("template", NAME_PROBLEM);
        }
        let after = page(&mut wrong, &request.page_token);
        if request.page_size > PAGE_MAX {
            wrong.add(
                "page_size",
                format!("is {}, at most {PAGE_MAX}", request.page_size),
            );
        }
        wrong.into_result()?;
        let count = match request.page_size {
            0 => PAGE_DEFAULT,
            count => count,
        };
        let rows = self.ledger.published(&request.template, after, count).await;
        let rows = rows.map_err(|error| of_ledger(&error))?;
        let full = rows.len() == count as usize;
        let next = rows.last().filter(|_| full);
        let next = next.map(|row| format!("{}@{}", row.name, row.version));
        Ok(Response::new(v1::ListPublishedResponse {
            next_page_token: next.unwrap_or_default(),
            templates: rows.into_iter().map(|row| shown(row, tells)).collect(),
        }))
    }
}

/// After which version a page begins; what is wrong with its token is added to `wrong`.
fn page<'a>(wrong: &mut InvalidFields, token: &'a str) -> Option<(&'a str, u32)> {
    if token.is_empty() {
        return None;
    }
    let read = || {
        let (name, version) = token.split_once('@')?;
        Some((name, version.parse().ok()?)).filter(|_| is_name(name))
    };
    let after = read();
    if after.is_none() {
        wrong.add("page_token", "is none that an answer had");
    }
    after
}

/// The answer where something forbids publishing.
fn forbidden(findings: &[Finding]) -> RpcError {
    let mut wrong = InvalidFields::new();
    for finding in findings.iter().filter(|finding| finding.forbids()) {
        let field = match finding.file.as_str() {
            "" => "files".to_owned(),
            file => format!("files.{file}"),
        };
        let line = finding.line.map(|line| format!("line {line}: "));
        let text = format!(
            "{}{} [{}]",
            line.unwrap_or_default(),
            finding.description,
            finding.rule.as_str()
        );
        wrong.add(field, text);
    }
    wrong.into()
}

fn finding(finding: &Finding) -> v1::CheckFinding {
    v1::CheckFinding {
        file: finding.file.clone(),
        description: finding.description.clone(),
        rule: finding.rule.as_str().to_owned(),
        line: finding
            .line
            .and_then(|line| line.try_into().ok())
            .unwrap_or_default(),
        severity: finding.rule.severity().as_str().to_owned(),
    }
}

/// Who published it and why, which is all tenants', only where `tells`.
fn shown(row: PublishedVersion, tells: bool) -> v1::PublishedTemplate {
    let (who, why) = if tells {
        (row.who, row.why)
    } else {
        Default::default()
    };
    v1::PublishedTemplate {
        template: row.name,
        version: row.version,
        bundle_hash: hex::encode(&row.hash),
        at: Some(convert::timestamp(row.at)),
        who,
        why,
    }
}
