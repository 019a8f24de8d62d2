//! `TemplatesService` over gRPC: what templates there are, how they look, what is wrong with a bundle.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_domain::canonical;
use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use paceline_templates::{Catalog, Files, LiveCatalog, RenderInput, Template, check};
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1::templates_service_server::TemplatesService;
use paceline_wire::{convert, v1};
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

use crate::bundles::Bundles;
use crate::shared::Shared;
use crate::statistics::{Counts, Statistics};

/// The id that a preview shows: no message has it.
const PREVIEW_ID: MessageId = MessageId([0; 16]);

/// Previews and checks at one time. A hostile bundle takes a second to compile: mail must not wait for that.
const AT_ONE_TIME: usize = 2;

pub(crate) struct Templates {
    catalog: Arc<LiveCatalog>,
    turns: Arc<Semaphore>,
    statistics: Arc<Statistics>,
    bundles: Arc<Bundles>,
    since: Millis,
}

impl Templates {
    pub(crate) fn new(catalog: Arc<LiveCatalog>, shared: &Shared) -> Self {
        Self {
            catalog,
            turns: Arc::new(Semaphore::new(AT_ONE_TIME)),
            statistics: Arc::clone(&shared.statistics),
            bundles: Arc::clone(&shared.bundles),
            since: shared.clock.wall(),
        }
    }

    /// Compiling and rendering are work for a processor: not on the runtime's own threads.
    async fn on_worker<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        // Never closed. A caller that goes while it waits has no work started for it; one that goes later leaves the turn
        // to the work, which can't be stopped.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, "a template's work ended badly");
            RpcError::new(
                Code::Internal,
                reason::INTERNAL,
                "the template's work ended badly",
            )
            .into()
        })
    }
}

#[tonic::async_trait]
impl TemplatesService for Templates {
    async fn list(
        &self,
        _request: Request<v1::ListTemplatesRequest>,
    ) -> Result<Response<v1::ListTemplatesResponse>, Status> {
        let templates = self
            .catalog
            .current()
            .iter()
            .map(|template| info(template))
            .collect();
        Ok(Response::new(v1::ListTemplatesResponse { templates }))
    }

    async fn preview(
        &self,
        request: Request<v1::PreviewRequest>,
    ) -> Result<Response<v1::PreviewResponse>, Status> {
        let v1::PreviewRequest {
            template,
            data,
            example,
        } = request.into_inner();
        let template = self.catalog.current().get(&template, None).ok_or_else(|| {
            RpcError::new(Code::NotFound, reason::NOT_FOUND, "there is no such template")
                .naming("template", "is unknown")
        })?;
        let rendered = self
            .on_worker(move || preview(&template, &data, &example))
            .await??;
        Ok(Response::new(rendered))
    }

    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckResponse>, Status> {
        let files: Files = request
            .into_inner()
            .files
            .into_iter()
            .map(|(path, file)| (path, file.to_vec()))
            .collect();
        let findings = self.on_worker(move || check(&files)).await?;
        let findings = findings.into_iter().map(|finding| v1::CheckFinding {
            rule: finding.rule.as_str().to_owned(),
            severity: finding.rule.severity().as_str().to_owned(),
            line: finding
                .line
                .and_then(|line| line.try_into().ok())
                .unwrap_or_default(),
            file: finding.file,
            description: finding.description,
        });
        Ok(Response::new(v1::CheckResponse {
            findings: findings.collect(),
        }))
    }

    async fn template_stats(
        &self,
        _request: Request<v1::TemplateStatsRequest>,
    ) -> Result<Response<v1::TemplateStatsResponse>, Status> {
        let usage = self.bundles.usage();
        Ok(Response::new(v1::TemplateStatsResponse {
            templates: stats(&self.catalog.current(), &self.statistics.counts()),
            since: Some(convert::timestamp(self.since)),
            cached: usage.templates as u64,
            cached_source_bytes: usage.source_bytes as u64,
            cached_source_bytes_max: usage.source_bytes_max as u64,
        }))
    }
}

/// Those of the folder, and those that were counted, by name.
fn stats(catalog: &Catalog, counts: &BTreeMap<String, Counts>) -> Vec<v1::TemplateStats> {
    let mut stats: BTreeMap<String, v1::TemplateStats> = BTreeMap::new();
    for template in catalog.iter() {
        let manifest = template.manifest();
        let entry = stats.entry(manifest.name.clone()).or_default();
        entry.versions.push(manifest.version.to_string());
    }
    for (name, count) in counts {
        let entry = stats.entry(name.clone()).or_default();
        entry.rendered = count.rendered;
        entry.as_fallback = count.as_fallback;
        entry.failed = count.failed;
    }
    let named = stats
        .into_iter()
        .map(|(name, entry)| v1::TemplateStats { name, ..entry });
    named.collect()
}

fn info(template: &Template) -> v1::TemplateInfo {
    let manifest = template.manifest();
    v1::TemplateInfo {
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        bundle_hash: template.hash().to_string(),
        lane: v1::Lane::from(manifest.lane).into(),
        examples: template
            .examples()
            .iter()
            .map(|example| example.name.clone())
            .collect(),
    }
}

/// Renders the given data, else the named example, else the first one.
fn preview(template: &Template, data: &[u8], example: &str) -> Result<v1::PreviewResponse, RpcError> {
    let data = if data.is_empty() {
        let mut examples = template.examples().iter();
        let found = examples.find(|found| example.is_empty() || found.name == example);
        found
            .ok_or_else(|| InvalidFields::one("example", "is none of the template's"))?
            .data
            .clone()
    } else {
        let data =
            canonical::parse_data(data).map_err(|error| InvalidFields::one("data", error.to_string()))?;
        data.into_inner()
    };
    if let Err(violations) = template.validate(&data) {
        let mut invalid = InvalidFields::new();
        for violation in violations {
            invalid.add(violation.path, violation.description);
        }
        return Err(invalid.into());
    }
    let lane = template.manifest().lane;
    let input = RenderInput {
        data,
        message_id: PREVIEW_ID,
        lane,
        unsubscribe_url: template.sample_unsubscribe_url(lane),
    };
    let rendered = template
        .render(input)
        .map_err(|error| InvalidFields::one("data", error.to_string()))?;
    Ok(v1::PreviewResponse {
        subject: rendered.subject,
        html: rendered.html,
        text: rendered.text,
    })
}

#[cfg(test)]
mod tests {
    use paceline_templates::{Catalog, Files, Template};

    use super::{preview, stats};
    use crate::statistics::Counts;

    #[test]
    fn what_was_counted_stands_beside_what_the_folder_has() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, number) in [("hello", 1), ("hello@2", 2)] {
            let mut files = files();
            let manifest = "name = \"hello\"\nversion = VERSION\nlane = \"transactional\"\n";
            let manifest = manifest.replace("VERSION", &number.to_string());
            files.insert("template.toml".to_owned(), manifest.into_bytes());
            for (path, file) in files {
                let path = folder.path().join(name).join(path);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
                std::fs::write(path, file).expect("writable");
            }
        }
        let catalog = Catalog::load(folder.path()).expect("good");
        let counts = Counts {
            rendered: 5,
            as_fallback: 2,
            failed: 1,
        };
        let stats = stats(&catalog, &[("gone".to_owned(), counts)].into());
        let names: Vec<_> = stats.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["gone", "hello"]);
        assert_eq!(
            (stats[0].rendered, stats[0].as_fallback, stats[0].failed),
            (5, 2, 1)
        );
        assert_eq!(
            (stats[1].versions.join(" ").as_str(), stats[1].rendered),
            ("1 2", 0)
        );
    }

    fn template() -> Template {
        Template::from_files(&files()).expect("a good bundle")
    }

    fn files() -> Files {
        let files = [
            (
                "template.toml",
                "name = \"hello\"\nversion = 1\nlane = \"bulk\"\n[from]\naddress = \"a@example.com\"\n",
            ),
            ("subject.hbs", "Hello {{name}}"),
            ("body.html.hbs", "<p>Hello {{name}}</p>"),
            ("schema.json", "{\"name\": \"string\"}"),
            ("examples/ada.json", "{\"name\": \"Ada\"}"),
            ("examples/grace.json", "{\"name\": \"Grace\"}"),
        ];
        files
            .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
            .into()
    }

    #[test]
    fn a_preview_shows_the_data_or_an_example() {
        let subject = |data: &str, example| {
            preview(&template(), data.as_bytes(), example)
                .expect("fits")
                .subject
        };
        assert_eq!(subject("", ""), "Hello Ada");
        assert_eq!(subject("", "grace"), "Hello Grace");
        assert_eq!(subject("{\"name\": \"Eve\"}", ""), "Hello Eve");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (data, example, field) in [
            ("{\"name\": 1}", "", "data.name"),
            ("{}", "", "data"),
            ("[]", "", "data"),
            ("", "nobody", "example"),
        ] {
            let error = preview(&template(), data.as_bytes(), example).expect_err(data);
            let status = tonic::Status::from(error);
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(
                String::from_utf8_lossy(status.details()).contains(field),
                "{data:?} {example:?}: {status:?}"
            );
        }
    }
}
