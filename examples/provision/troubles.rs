//! The troubles that the panel meets.

use super::panel::{On, Panel, Told, Trouble};
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A success so late that the server has failed by then.
const TOO_LATE: Trouble = Trouble::LateSuccess { after: ms(3_000) };

/// What happens to calls that create a server. The panel's timeout is 400 ms.
const CREATES: [(Trouble, &str); 12] = [
    (Trouble::LoseAnswer, "it is made, but the answer is lost"),
    (
        Trouble::NodeAway { after: ms(500), told: Told::Before },
        "the panel takes it back after half a second, and a gateway has given up before",
    ),
    (TOO_LATE, "it is made seconds after it was given up"),
    (Trouble::LateSuccess { after: ms(600) }, "it is made after the timeout"),
    (Trouble::LoseRequest, "the request is lost"),
    (Trouble::NodeError { status: 500, after: ms(100) }, "its node fails"),
    (Trouble::Refuse400, "no node has room"),
    (Trouble::Refuse422, "a field is refused"),
    (Trouble::Malformed, "it is made, but the answer is cut off"),
    (Trouble::Twice, "the request arrives twice"),
    (Trouble::Gateway { status: 502, done: true }, "it is made, but a gateway fails"),
    (Trouble::Throttle { retry_after_s: 1 }, "the panel has had too many calls"),
];

/// How many of these have their timeline shown.
const SHOWN: usize = 3;

/// What happens to calls that look a server up.
const LOOK_UPS: [Trouble; 4] = [
    Trouble::LoseAnswer,
    Trouble::Status(500, "QueryException"),
    Trouble::Gateway { status: 503, done: false },
    Trouble::Malformed,
];

/// Makes three of four creates fail, and the first look-ups, too. Returns how many creates.
pub fn script(panel: &Panel, servers: u8) -> usize {
    let troubled = (usize::from(servers) * 3).div_ceil(4);
    for (trouble, _) in CREATES.iter().cycle().take(troubled) {
        panel.script(On::Create, *trouble);
    }
    for trouble in LOOK_UPS {
        panel.script(On::LookUp, trouble);
    }
    troubled
}

/// The troubles whose timeline is shown, with their description.
pub fn shown() -> impl Iterator<Item = (Trouble, &'static str)> {
    CREATES.into_iter().take(SHOWN)
}

/// Whether nothing more happens on the panel by itself: what comes too late has come.
pub fn are_over(panel: &Panel) -> bool {
    let late = panel.calls_of(On::Create).into_iter().filter(|call| call.trouble == Some(TOO_LATE));
    late.filter_map(|call| call.external_id).all(|id| panel.rows_made_of(&id) > 0)
}
