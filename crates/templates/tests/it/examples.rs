//! The templates of the repository.

use std::path::Path;

use paceline_templates::{Catalog, Finding, RenderInput, check_directory};

use super::patient;

#[test]
fn what_the_repository_ships_has_no_findings() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let checked = check_directory(&directory).expect("readable");
    let found: Vec<_> = checked.iter().flat_map(|bundle| &bundle.findings).collect();
    assert_eq!(found, Vec::<&Finding>::new());
    assert_eq!(checked.len(), 3);
}

#[test]
fn every_example_of_the_repository_renders() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let catalog = Catalog::load(&directory).unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<_> = catalog
        .iter()
        .map(|template| template.manifest().name.clone())
        .collect();
    assert_eq!(names, ["order-receipt", "password-reset", "welcome"]);
    for template in catalog.iter() {
        let name = &template.manifest().name;
        assert!(template.examples().len() >= 2, "{name}");
        assert!(
            template.examples().iter().any(|example| example.name == "first"),
            "{name}"
        );
        for example in template.examples() {
            let input = RenderInput {
                data: example.data.clone(),
                message_id: paceline_domain::id::MessageId([3; 16]),
                lane: template.manifest().lane,
                unsubscribe_url: template.sample_unsubscribe_url(template.manifest().lane),
            };
            let rendered = template
                .render_within(input, &patient())
                .unwrap_or_else(|error| panic!("{name} {}: {error}", example.name));
            assert!(
                rendered.html.len() < 102 * 1024 && rendered.text.len() > 100,
                "{name}"
            );
            for part in [&rendered.subject, &rendered.html, &rendered.text] {
                assert!(
                    !part.contains("{{") && !part.contains("[object]"),
                    "{name}: {part}"
                );
            }
        }
    }
}
