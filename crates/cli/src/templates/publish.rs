//! `paceline templates publish`: checks bundles and has them kept and announced; and `published`, which lists what was.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use paceline_kit::client::Connection;
use paceline_templates::{
    CheckedBundle, FALLBACKS_MAX, Files, Finding, Manifest, Rule, Template, read_folder,
};
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1::publish_service_client::PublishServiceClient;
use paceline_wire::v1::{ListPublishedRequest, PublishRequest, PublishResponse, PublishedTemplate};
use tonic::{Code, Status};

use super::{check, report};
use crate::args::{PublishOptions, PublishedOptions, ReportFormat, Target};
use crate::client;
use crate::ended::Ended;

/// Versions of one call.
const PAGE: u32 = 1_000;

type Client = PublishServiceClient<Connection>;

pub(super) async fn run(target: &Target, options: &PublishOptions) -> anyhow::Result<()> {
    let directory = &options.directory;
    let mut bundles = check::bundles(directory)?;
    bundles.iter_mut().for_each(leave_to_server);
    if bundles
        .iter()
        .flat_map(|bundle| &bundle.findings)
        .any(Finding::forbids)
    {
        report::print(ReportFormat::Text, directory, &bundles)?;
        eprintln!("paceline: nothing is published");
        return Err(Ended(check::FORBIDDEN).into());
    }
    let mut to_publish = Vec::with_capacity(bundles.len());
    for bundle in &bundles {
        to_publish.push(read(&directory.join(&bundle.folder))?);
    }
    in_order(&mut to_publish);
    let mut publishing = Publishing {
        client: Client::new(client::connect_to(target, &options.asked.feedback, "--feedback")?),
        options,
    };
    if !publishing.may_all(&to_publish).await? {
        eprintln!("paceline: nothing is published");
        return Err(Ended(check::FORBIDDEN).into());
    }
    publishing.all(to_publish).await
}

struct Publishing<'a> {
    client: Client,
    options: &'a PublishOptions,
}

impl Publishing<'_> {
    /// Asks whether all may be published now; prints what may not.
    async fn may_all(&mut self, bundles: &[(Manifest, Files)]) -> anyhow::Result<bool> {
        // A fallback of the same directory was checked with it, and is published before.
        let names = bundles.iter().map(|(manifest, _)| manifest.name.clone());
        let published_with: Vec<String> = names.filter(|_| bundles.len() > 1).collect();
        let mut may = true;
        for (manifest, files) in bundles {
            let request = PublishRequest {
                validate_only: true,
                published_with: published_with.clone(),
                ..self.request(files.clone())
            };
            match self.call(manifest, request).await? {
                Ok(answer) if is_passed_over(&answer, bundles) => {
                    may = false;
                    print!("{}", passed_over(&answer));
                }
                Ok(_) => {}
                Err(problem) => {
                    may = false;
                    print!("{}", refused(manifest, &problem));
                }
            }
        }
        Ok(may)
    }

    async fn all(&mut self, bundles: Vec<(Manifest, Files)>) -> anyhow::Result<()> {
        let mut is_refused = false;
        for (manifest, files) in bundles {
            let request = self.request(files);
            match self.call(&manifest, request).await? {
                Ok(answer) => print!("{}", shown(&answer)),
                Err(problem) => {
                    is_refused = true;
                    print!("{}", refused(&manifest, &problem));
                }
            }
        }
        if is_refused {
            return Err(Ended(check::FORBIDDEN).into());
        }
        Ok(())
    }

    fn request(&self, files: Files) -> PublishRequest {
        let files = files.into_iter();
        PublishRequest {
            files: files.map(|(path, file)| (path, file.into())).collect(),
            who: self.options.who.clone(),
            why: self.options.why.clone(),
            ..PublishRequest::default()
        }
    }

    /// The answer, or why this bundle is refused.
    async fn call(
        &mut self,
        manifest: &Manifest,
        request: PublishRequest,
    ) -> anyhow::Result<Result<PublishResponse, String>> {
        let answer = self.client.publish(client::within(request)).await;
        let status = match answer {
            Ok(answer) => return Ok(Ok(answer.into_inner())),
            Err(status) if refuses(&status) => return Ok(Err(client::problem(&status))),
            Err(status) => status,
        };
        let problem = client::explain(&status);
        eprintln!("paceline: {} {}: {problem}", manifest.name, manifest.version);
        let code = if refuses_all(&status) {
            check::FORBIDDEN
        } else {
            check::UNCHECKED
        };
        Err(Ended(code).into())
    }
}

/// True for an earlier version that was published before, where mail gets one that is not among these: nothing would change.
fn is_passed_over(answer: &PublishResponse, bundles: &[(Manifest, Files)]) -> bool {
    let is_newer = |(manifest, _): &(Manifest, Files)| {
        manifest.name == answer.template && manifest.version >= answer.newest_version
    };
    answer.already && answer.newest_version > answer.version && !bundles.iter().any(is_newer)
}

fn passed_over(answer: &PublishResponse) -> String {
    let (name, version, newest) = (&answer.template, answer.version, answer.newest_version);
    format!("already    {name} {version}, but {name} {newest} is what mail gets: raise the version\n")
}

fn refused(manifest: &Manifest, problem: &str) -> String {
    format!("refused    {} {}{problem}\n", manifest.name, manifest.version)
}

pub(super) async fn list(target: &Target, options: &PublishedOptions) -> anyhow::Result<()> {
    let connection = client::connect_to(target, &options.asked.feedback, "--feedback")?;
    let mut client = Client::new(connection);
    let mut page_token = String::new();
    loop {
        let request = ListPublishedRequest {
            template: options.template.clone(),
            page_size: PAGE,
            page_token,
        };
        let answer = client.list_published(client::within(request)).await;
        let answer = answer.map_err(|status| client::explain(&status))?.into_inner();
        answer.templates.iter().for_each(|row| println!("{}", line(row)));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

/// Of a bundle that stands for itself only the server knows the fallbacks.
fn leave_to_server(bundle: &mut CheckedBundle) {
    if bundle.folder.as_os_str().is_empty() {
        bundle.findings.retain(|finding| finding.rule != Rule::Fallback);
    }
}

fn read(folder: &Path) -> anyhow::Result<(Manifest, Files)> {
    let files = read_folder(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    let template =
        Template::from_files(&files).with_context(|| format!("{} can't be used", folder.display()))?;
    Ok((template.manifest().clone(), files))
}

/// What stands in for others goes before them, and older versions before newer ones.
fn in_order(bundles: &mut [(Manifest, Files)]) {
    let named = |(manifest, _): &(Manifest, Files)| (manifest.name.clone(), manifest.fallback.clone());
    let fallbacks: BTreeMap<String, Option<String>> = bundles.iter().map(named).collect();
    let depth = |name: &str| {
        let next = |name: &&String| fallbacks.get(*name).and_then(Option::as_ref);
        let first = fallbacks.get(name).and_then(Option::as_ref);
        std::iter::successors(first, next).take(FALLBACKS_MAX).count()
    };
    bundles
        .sort_by_cached_key(|(manifest, _)| (depth(&manifest.name), manifest.name.clone(), manifest.version));
}

/// True if the same bundle would be refused again.
fn refuses(status: &Status) -> bool {
    match status.code() {
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition => true,
        Code::ResourceExhausted => RpcError::from(status).reason == reason::TEMPLATES_FULL,
        _ => false,
    }
}

/// True if any bundle would be: this key may not publish, or that service can't.
fn refuses_all(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented
    )
}

/// A line for the version, and one for each warning.
fn shown(answer: &PublishResponse) -> String {
    let word = if answer.already { "already" } else { "published" };
    let (template, version) = (&answer.template, answer.version);
    let mut text = format!("{word:9}  {template} {version}  {}\n", answer.bundle_hash);
    for warning in &answer.warnings {
        let line = match warning.line {
            0 => String::new(),
            line => format!(":{line}"),
        };
        let (file, problem, rule) = (&warning.file, &warning.description, &warning.rule);
        text.push_str(&format!("  {file}{line}: warning: {problem} [{rule}]\n"));
    }
    text
}

fn line(row: &PublishedTemplate) -> String {
    let at = client::show_time(row.at);
    format!(
        "{} {}  {at}  {}  {}  {}",
        row.template, row.version, row.bundle_hash, row.who, row.why
    )
}

#[cfg(test)]
mod tests {
    use paceline_templates::{Files, Template};
    use paceline_wire::status::{RpcError, reason};
    use paceline_wire::v1::{CheckFinding, PublishResponse};
    use tonic::{Code, Status};

    use super::{in_order, is_passed_over, passed_over, refuses, refuses_all, shown};

    fn bundle(name: &str, version: u32, fallback: &str) -> Files {
        let fallback = match fallback {
            "" => String::new(),
            name => format!("fallback = \"{name}\"\n"),
        };
        let manifest =
            format!("name = \"{name}\"\nversion = {version}\nlane = \"transactional\"\n{fallback}");
        let files = [
            ("template.toml", manifest.as_str()),
            ("subject.hbs", "x"),
            ("body.html.hbs", "<p>x</p>"),
            ("schema.json", "{}"),
        ];
        files
            .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
            .into()
    }

    #[test]
    fn fallbacks_go_first() {
        let bundles = [
            bundle("a", 2, "c"),
            bundle("a", 1, "c"),
            bundle("b", 1, ""),
            bundle("c", 1, "d"),
            bundle("d", 1, ""),
        ];
        let read = |files: Files| {
            let template = Template::from_files(&files).expect("a bundle");
            (template.manifest().clone(), files)
        };
        let mut bundles = bundles.map(read);
        in_order(&mut bundles);
        let order = bundles.map(|(manifest, _)| format!("{}{}", manifest.name, manifest.version));
        assert_eq!(order, ["b1", "d1", "c1", "a1", "a2"]);
    }

    #[test]
    fn an_earlier_version_is_passed_over_unless_the_newest_comes_with_it() {
        let bundles = |versions: &[u32]| {
            let read = |version: &u32| {
                let files = bundle("welcome", *version, "");
                let template = Template::from_files(&files).expect("a bundle");
                (template.manifest().clone(), files)
            };
            versions.iter().map(read).collect::<Vec<_>>()
        };
        let answer = |version, already, newest_version| PublishResponse {
            template: "welcome".to_owned(),
            version,
            already,
            newest_version,
            ..PublishResponse::default()
        };
        assert!(is_passed_over(&answer(1, true, 2), &bundles(&[1])));
        assert!(!is_passed_over(&answer(1, true, 2), &bundles(&[1, 2])));
        assert!(!is_passed_over(&answer(2, true, 2), &bundles(&[2])));
        assert!(
            !is_passed_over(&answer(1, false, 2), &bundles(&[1])),
            "it was not there"
        );
        assert_eq!(
            passed_over(&answer(1, true, 2)),
            "already    welcome 1, but welcome 2 is what mail gets: raise the version\n"
        );
    }

    #[test]
    fn what_comes_again_is_told_from_what_may_pass() {
        let refusal = |code, reason| Status::from(RpcError::new(code, reason, "x"));
        assert!(refuses(&refusal(Code::AlreadyExists, reason::VERSION_TAKEN)));
        assert!(refuses(&refusal(Code::ResourceExhausted, reason::TEMPLATES_FULL)));
        assert!(!refuses(&refusal(Code::ResourceExhausted, reason::STORE_FULL)));
        assert!(refuses_all(&Status::unauthenticated("x")) && refuses_all(&Status::unimplemented("x")));
        assert!(!refuses_all(&Status::unavailable("x")));
    }

    #[test]
    fn warnings_have_lines_of_their_own() {
        let answer = PublishResponse {
            template: "welcome".to_owned(),
            version: 2,
            bundle_hash: "ab".to_owned(),
            already: true,
            warnings: vec![CheckFinding {
                file: "schema.json".to_owned(),
                description: "`x` is not used".to_owned(),
                rule: "unused-field".to_owned(),
                line: 3,
                severity: "warning".to_owned(),
            }],
            newest_version: 2,
        };
        assert_eq!(
            shown(&answer),
            "already    welcome 2  ab\n  schema.json:3: warning: `x` is not used [unused-field]\n"
        );
    }
}
