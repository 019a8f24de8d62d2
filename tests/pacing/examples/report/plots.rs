//! The plots: what is offered per second around a fall of the limit.

use std::path::Path;

use paceline_pacing::provider::Limit;
use paceline_pacing::world::{Design, STEP_MS};
use plotters::prelude::*;

use crate::figures::{CHANGE_MS, LIMIT, PLAIN, settled};

const BEFORE_SECS: i64 = 20;
const AFTER_SECS: i64 = 40;
/// A point each so many milliseconds, of the second around it.
const POINT_MS: u64 = 250;

type Drawn = Result<(), Box<dyn std::error::Error>>;

pub(crate) fn draw(folder: &Path) -> Drawn {
    falls(&folder.join("halved.svg"), 0.5)?;
    falls(&folder.join("tenth.svg"), 0.1)
}

/// (seconds after the fall, offered per second).
fn line(design: Design, part: f64) -> Vec<(f64, f64)> {
    let mut world = settled(design, PLAIN, 1);
    world.provider.settings.limit = Limit::Steady(part * LIMIT);
    world
        .run(1_000 * AFTER_SECS.unsigned_abs())
        .expect("the invariants hold");
    let second = (1_000 / STEP_MS) as usize;
    let from = ((CHANGE_MS - 1_000 * BEFORE_SECS.unsigned_abs()) / STEP_MS) as usize;
    let windows = world.sends[from..]
        .windows(second)
        .enumerate()
        .step_by((POINT_MS / STEP_MS) as usize);
    windows
        .map(|(index, sends)| {
            let middle = (index + second / 2) as f64 * STEP_MS as f64 / 1_000.0;
            let offered: u64 = sends.iter().map(|(n, _)| u64::from(*n)).sum();
            (middle - BEFORE_SECS as f64, offered as f64)
        })
        .collect()
}

fn falls(path: &Path, part: f64) -> Drawn {
    let area = SVGBackend::new(path, (900, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let seconds = -(BEFORE_SECS as f64)..AFTER_SECS as f64;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(52)
        .build_cartesian_2d(seconds.clone(), 0.0..1.6 * LIMIT)?;
    chart
        .configure_mesh()
        .x_desc("seconds after the fall of the limit")
        .y_desc("offered per second")
        .light_line_style(WHITE)
        .draw()?;
    let limit = [
        (seconds.start, LIMIT),
        (0.0, LIMIT),
        (0.0, part * LIMIT),
        (seconds.end, part * LIMIT),
    ];
    let lines = [
        ("the limit", BLACK, limit.to_vec()),
        (
            "each answer counts",
            RGBColor(213, 94, 0),
            line(Design::EachAnswer, part),
        ),
        (
            "AWS's adaptive mode",
            RGBColor(0, 158, 115),
            line(Design::Cubic, part),
        ),
        ("Paceline", RGBColor(0, 114, 178), line(Design::Coordinated, part)),
    ];
    for (name, colour, points) in lines {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}
