//! Writes `docs/pacing.md` and its plots: what the pacing reaches, beside two designs without a coordinator.

mod figures;
mod plots;
mod table;

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::create_dir_all(docs.join("pacing"))?;
    plots::draw(&docs.join("pacing"))?;
    std::fs::write(docs.join("pacing.md"), table::report())?;
    println!("docs/pacing.md");
    Ok(())
}
