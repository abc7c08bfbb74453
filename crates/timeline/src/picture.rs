//! The picture of a run: time from left to right, and below each other what was done to the server,
//! the state of the connection, each call from its beginning to its end, and notifications.

use std::error::Error;

use plotters::prelude::{
    BLACK, Circle, EmptyElement, IntoDrawingArea, IntoFont, RGBColor, Rectangle, SVGBackend, Text,
    WHITE,
};
use plotters::prelude::{Color, PathElement};
use txpostgres::reconnection::ConnectionState;

use crate::happened::{End, Event, Happened};

const SIZE: (u32, u32) = (980, 330);
/// Where time begins and ends, in pixels.
const LEFT: i32 = 120;
const RIGHT: i32 = 960;

const GREEN: RGBColor = RGBColor(46, 139, 87);
const RED: RGBColor = RGBColor(200, 60, 60);
const AMBER: RGBColor = RGBColor(222, 154, 40);
const BLUE: RGBColor = RGBColor(70, 110, 180);
const GREY: RGBColor = RGBColor(150, 150, 150);

/// A row of the picture: its name, and its top and bottom.
struct Row(&'static str, i32, i32);

const FAULTS: Row = Row("server, network", 20, 50);
const STATES: Row = Row("connection", 60, 100);
const CALLS: Row = Row("calls", 110, 215);
const NOTIFIED: Row = Row("notifications", 230, 255);

/// When it begins, its name and colour if there is anything to be seen, and its row.
type Band<'a> = (f64, Option<(String, RGBColor)>, &'a Row);

pub(crate) fn draw(happened: &Happened, path: &str) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let seconds = happened.seconds().max(0.1);
    let x = |at: f64| LEFT + pixels(at / seconds * f64::from(RIGHT - LEFT));
    let font = ("sans-serif", 12).into_font();
    for Row(name, top, bottom) in [FAULTS, STATES, CALLS, NOTIFIED] {
        area.draw(&Text::new(name, (8, top.midpoint(bottom) - 6), font.clone()))?;
    }
    for second in 0..=whole(seconds) {
        let at = x(f64::from(second));
        area.draw(&PathElement::new([(at, 15), (at, 265)], GREY.mix(0.25)))?;
        area.draw(&Text::new(format!("{second} s"), (at - 8, 268), font.clone()))?;
    }

    // Bands end where the next one begins.
    let mut bands: Vec<Band<'_>> = Vec::new();
    for (at, event) in happened.events() {
        match event {
            Event::Fault { what, begins } => {
                bands.push((at, begins.then(|| ((*what).to_owned(), RED)), &FAULTS));
            }
            Event::State(state) => bands.push((at, Some(named(state)), &STATES)),
            _ => {}
        }
    }
    for row in [&FAULTS, &STATES] {
        let of_row: Vec<_> = bands.iter().filter(|band| band.2.1 == row.1).collect();
        for (number, (at, band, _)) in of_row.iter().enumerate() {
            let Some((name, colour)) = band else { continue };
            let end = of_row.get(number + 1).map_or(seconds, |next| next.0);
            let corners = [(x(*at), row.1), (x(end), row.2)];
            area.draw(&Rectangle::new(corners, colour.mix(0.35).filled()))?;
            if x(end) - x(*at) > 40 {
                area.draw(&Text::new(name.clone(), (x(*at) + 3, row.1 + 8), font.clone()))?;
            }
        }
    }

    let mut lane = 0;
    for (at, event) in happened.events() {
        match event {
            Event::Call { since, end } => {
                lane = (lane + 7) % (CALLS.2 - CALLS.1);
                let y = CALLS.1 + lane;
                let colour = match end {
                    End::Answered => GREEN,
                    End::Lost => RED,
                    End::Refused => AMBER,
                };
                area.draw(&PathElement::new([(x(*since), y), (x(at), y)], colour))?;
                area.draw(
                    &(EmptyElement::at((x(at), y)) + Circle::new((0, 0), 2, colour.filled())),
                )?;
            }
            Event::Notified => {
                area.draw(&PathElement::new([(x(at), NOTIFIED.1), (x(at), NOTIFIED.2)], BLUE))?;
            }
            Event::Gap => {
                let corners = [(x(at) - 2, NOTIFIED.1 - 6), (x(at) + 2, NOTIFIED.2 + 6)];
                area.draw(&Rectangle::new(corners, BLACK.filled()))?;
                area.draw(&Text::new("Gap", (x(at) + 5, NOTIFIED.2 - 2), font.clone()))?;
            }
            _ => {}
        }
    }
    let legend = [
        (GREEN, "answered; a line is a call that waited"),
        (RED, "in flight when the connection was lost"),
        (AMBER, "waited for half a second in vain"),
        (BLUE, "heard"),
    ];
    let mut at = LEFT;
    for (colour, text) in legend {
        area.draw(&Rectangle::new([(at, 300), (at + 10, 310)], colour.filled()))?;
        area.draw(&Text::new(text, (at + 15, 299), font.clone()))?;
        at += 30 + pixels(f64::from(u32::try_from(text.len()).unwrap_or_default()) * 5.6);
    }
    area.present()?;
    Ok(())
}

fn named(state: &ConnectionState) -> (String, RGBColor) {
    match state {
        ConnectionState::Up { generation } => (format!("up, session {generation}"), GREEN),
        ConnectionState::Suspect { .. } => ("suspect".to_owned(), AMBER),
        ConnectionState::Restoring { .. } => ("restoring".to_owned(), BLUE),
        ConnectionState::Reconnecting { .. } => ("reconnecting".to_owned(), RED),
        ConnectionState::Down { .. } => ("down".to_owned(), RED),
        _ => ("closed".to_owned(), GREY),
    }
}

/// A place in the picture, which is small.
#[expect(clippy::cast_possible_truncation, reason = "a picture has some hundred pixels")]
fn pixels(place: f64) -> i32 {
    place.round() as i32
}

/// How many whole seconds.
#[expect(clippy::cast_possible_truncation, reason = "a run takes some seconds")]
fn whole(seconds: f64) -> i32 {
    seconds as i32
}
