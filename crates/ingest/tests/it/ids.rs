//! What ingest says of its templates: which fields make ids.

use paceline_wire::v1;
use paceline_wire::v1::ids_service_client::IdsServiceClient;
use tonic::Code;

use crate::running::Running;

async fn fields(service: &Running, template: &str) -> Result<v1::ListIdFieldsResponse, tonic::Status> {
    let template = template.to_owned();
    let request = v1::ListIdFieldsRequest { template };
    let mut client = IdsServiceClient::new(service.channel.clone());
    Ok(client.list_id_fields(request).await?.into_inner())
}

#[tokio::test]
async fn each_template_tells_which_fields_make_its_ids_and_why() {
    let service = Running::start().await;
    let all = fields(&service, "").await.expect("it answers").templates;
    let names: Vec<_> = all.iter().map(|of| of.template.as_str()).collect();
    assert_eq!(names, ["note", "receipt"]);
    let receipt = fields(&service, "receipt").await.expect("it is there").templates;
    assert_eq!(receipt, all[1..]);
    let told: Vec<_> = receipt[0]
        .fields
        .iter()
        .map(|field| (field.name.as_str(), field.counts, field.printed))
        .collect();
    assert_eq!(
        told,
        [
            ("filler", true, false),
            ("items", true, false),
            ("order", true, true)
        ]
    );
    assert_eq!(receipt[0].fields[0].why, "no list names it");
    let unknown = fields(&service, "nothing").await.expect_err("there is none");
    assert_eq!(unknown.code(), Code::NotFound);
}
