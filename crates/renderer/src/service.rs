//! `TemplatesService` over gRPC: what templates there are, how they look, what is wrong with a bundle.

use std::sync::Arc;

use paceline_domain::canonical;
use paceline_domain::id::MessageId;
use paceline_templates::{Catalog, Files, RenderInput, Template, check};
use paceline_wire::status::{InvalidFields, RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::templates_service_server::TemplatesService;
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

/// The id that a preview shows: no message has it.
const PREVIEW_ID: MessageId = MessageId([0; 16]);

/// Previews and checks at one time. A hostile bundle takes a second to compile: mail must not wait for that.
const AT_ONE_TIME: usize = 2;

pub(crate) struct Templates {
    catalog: Catalog,
    turns: Arc<Semaphore>,
}

impl Templates {
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            turns: Arc::new(Semaphore::new(AT_ONE_TIME)),
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
        let templates = self.catalog.iter().map(|template| info(template)).collect();
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
        let template = self.catalog.get(&template, None).ok_or_else(|| {
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
            description: match finding.line {
                Some(line) => format!("line {line}: {}", finding.description),
                None => finding.description,
            },
            file: finding.file,
        });
        Ok(Response::new(v1::CheckResponse {
            findings: findings.collect(),
        }))
    }
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
    use super::preview;
    use paceline_templates::{Files, Template};

    fn template() -> Template {
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
        let files: Files = files
            .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
            .into();
        Template::from_files(&files).expect("a good bundle")
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
