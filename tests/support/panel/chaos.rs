//! Random troubles, the same ones for the same seed and order of calls.

use super::{On, Told, Trouble};
use fastrand::Rng;
use std::time::Duration;

/// How bad the weather is.
#[derive(Clone, Debug)]
pub struct Chaos {
    /// The seed of all choices.
    pub seed: u64,
    /// The share of calls that meet a trouble, in per cent.
    pub percent: u8,
    /// Nothing happens on the panel later than this after a call's arrival.
    ///
    /// It must be below the client's timeout plus its settle window, as in reality.
    pub within: Duration,
}

impl Chaos {
    /// The generator of the choices.
    pub fn generator(&self) -> Rng {
        Rng::with_seed(self.seed)
    }

    /// Perhaps a trouble for a call of this sort.
    ///
    /// 401 and 403 are left out: they mean a wrong configuration, not the weather.
    pub fn choose(&self, generator: &mut Rng, on: On) -> Option<Trouble> {
        if generator.u8(..100) >= self.percent {
            return None;
        }
        let after = self.within.mul_f64(generator.f64());
        let told = [Told::After, Told::Before, Told::Never];
        let told = generator.choice(told).unwrap_or(Told::After);
        let status = generator.choice([400, 404, 409, 422, 500, 502, 504]).unwrap_or(500);
        let mut troubles = vec![
            Trouble::NodeAway { after, told },
            Trouble::NodeError { status, after },
            Trouble::LateSuccess { after },
            Trouble::LoseRequest,
            Trouble::LoseAnswer,
            Trouble::Twice,
            Trouble::TwiceAtOnce,
            Trouble::Malformed,
            Trouble::MissingFields,
            Trouble::Huge,
            Trouble::Slow { per_chunk: self.within / 100 },
            Trouble::Gateway { status: 502, done: true },
            Trouble::Gateway { status: 503, done: false },
            Trouble::Status(500, "QueryException"),
            Trouble::Throttle { retry_after_s: 1 },
            Trouble::Redirect,
        ];
        match on {
            On::Create => troubles.extend([
                Trouble::OtherId,
                Trouble::NullStatus,
                Trouble::Refuse422,
                Trouble::Refuse400,
            ]),
            On::LookUp => troubles.extend([Trouble::OtherId, Trouble::NullStatus]),
            On::Suspend | On::Unsuspend => {
                troubles.push(Trouble::Status(409, "ConflictHttpException"));
            }
            On::Delete => troubles.push(Trouble::SlowDelete { after }),
            On::Any => {}
        }
        generator.choice(troubles)
    }
}
