//! `paceline.v1.IdsService`: which fields make the ids of a template's messages, as this process makes them.

use std::sync::Arc;

use paceline_templates::{LiveCatalog, Template};
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::ids_service_server::IdsService;
use tonic::{Code, Request, Response, Status};

/// The service.
pub(crate) struct IdsOf(pub(crate) Arc<LiveCatalog>);

#[tonic::async_trait]
impl IdsService for IdsOf {
    async fn list_id_fields(
        &self,
        request: Request<v1::ListIdFieldsRequest>,
    ) -> Result<Response<v1::ListIdFieldsResponse>, Status> {
        let wanted = request.into_inner().template;
        let catalog = self.0.current();
        let names = catalog.iter().map(|template| template.manifest().name.as_str());
        let mut names: Vec<&str> = names
            .filter(|name| wanted.is_empty() || wanted == *name)
            .collect();
        names.dedup();
        if names.is_empty() && !wanted.is_empty() {
            let unknown = RpcError::new(Code::NotFound, reason::NOT_FOUND, "there is no such template");
            return Err(unknown.naming("template", "is unknown").into());
        }
        let newest = names.into_iter().filter_map(|name| catalog.get(name, None));
        let templates = newest.map(|template| described(&template)).collect();
        Ok(Response::new(v1::ListIdFieldsResponse { templates }))
    }
}

fn described(template: &Template) -> v1::TemplateIdFields {
    let fields = template.fields().into_iter().map(|field| v1::IdField {
        counts: field.rule.counts(),
        why: field.rule.as_str().to_owned(),
        printed: field.printed,
        name: field.name,
    });
    v1::TemplateIdFields {
        template: template.manifest().name.clone(),
        version: template.manifest().version.to_string(),
        fields: fields.collect(),
    }
}
