//! The routes of credits.

use super::{credits, reservations};
use crate::http::core::{
    collection::{KNOWN, READS},
    endpoint::{Endpoint, get, group, post, schema},
};
use ifmatch_types::{
    Code, Credits, NewAdjustment, NewPosting, NewReservation, NewTopup, Reservation, Transfer,
};

/// The section of the OpenAPI document.
const TAG: &str = "Credits";

/// Every route of the ledger.
pub fn routes() -> Vec<Endpoint> {
    [accounts(), reservations()].into_iter().flatten().collect()
}

fn accounts() -> Vec<Endpoint> {
    group(
        TAG,
        [
            get("/v1/workspaces/{id}/credits", credits::get)
                .viewer()
                .scoped()
                .operation_id("get_credits")
                .summary("Read the credits of a workspace")
                .answers::<Credits>(200)
                .problems(READS),
            post("/v1/workspaces/{id}/credits/topups", credits::top_up)
                .admin()
                .idempotency_required()
                .operation_id("top_up_credits")
                .summary("Add credits to a workspace")
                .body::<NewTopup>()
                .answers::<Transfer>(201)
                .problems(READS)
                .problems(&[Code::AmountOverflow]),
            post("/v1/workspaces/{id}/credits/adjustments", credits::adjust)
                .admin()
                .idempotency_required()
                .operation_id("adjust_credits")
                .summary("Correct the available credits of a workspace, up or down")
                .body::<NewAdjustment>()
                .answers::<Transfer>(201)
                .problems(READS)
                .problems(&[Code::InsufficientCredits, Code::AmountOverflow]),
            get("/v1/workspaces/{id}/credits/transfers", credits::list)
                .viewer()
                .scoped()
                .paged()
                .query("kind", "Only transfers of this kind", schema::one_of(&credits::kinds()))
                .query("ref", "Only transfers for this purpose", schema::some_text())
                .query("since", "Only from this instant on", schema::instant())
                .operation_id("list_credit_transfers")
                .summary("List the transfers of a workspace's credits, newest first")
                .answers_page::<Transfer>(200)
                .problems(READS),
            get("/v1/workspaces/{id}/credits/transfers/{transfer_id}", credits::get_transfer)
                .viewer()
                .scoped()
                .operation_id("get_credit_transfer")
                .summary("Read a transfer of a workspace's credits")
                .answers::<Transfer>(200)
                .problems(READS),
        ],
    )
}

fn reservations() -> Vec<Endpoint> {
    let statuses = schema::one_of(&reservations::statuses());
    group(
        TAG,
        [
            post("/v1/workspaces/{id}/credits/reservations", credits::reserve)
                .agent()
                .scoped()
                .idempotency_required()
                .operation_id("reserve_credits")
                .summary(
                    "Reserve credits: set them aside until the reservation is posted or voided",
                )
                .body::<NewReservation>()
                .answers::<Transfer>(201)
                .problems(READS)
                .problems(&[Code::InsufficientCredits]),
            get("/v1/workspaces/{id}/credits/reservations", reservations::list)
                .viewer()
                .scoped()
                .paged()
                .query("status", "Only those with this status", statuses)
                .operation_id("list_credit_reservations")
                .summary("List the reservations of a workspace's credits, oldest first")
                .answers_page::<Reservation>(200)
                .problems(READS),
            get("/v1/reservations/{id}", reservations::get)
                .viewer()
                .scoped()
                .operation_id("get_reservation")
                .summary("Read a reservation")
                .answers::<Reservation>(200)
                .problems(KNOWN),
            post("/v1/reservations/{id}/post", reservations::post)
                .agent()
                .scoped()
                .idempotent()
                .operation_id("post_reservation")
                .summary("Post a reservation: charge all of it, or a part and give the rest back")
                .optional_body::<NewPosting>()
                .answers::<Transfer>(200)
                .problems(KNOWN)
                .problems(&[
                    Code::ExceedsReservation,
                    Code::ReservationAlreadyPosted,
                    Code::ReservationAlreadyVoided,
                    Code::ReservationOwned,
                ]),
            post("/v1/reservations/{id}/void", reservations::void)
                .agent()
                .scoped()
                .idempotent()
                .operation_id("void_reservation")
                .summary("Void a reservation: make all its credits available again")
                .answers::<Transfer>(200)
                .problems(KNOWN)
                .problems(&[
                    Code::ValidationFailed,
                    Code::ReservationAlreadyPosted,
                    Code::ReservationAlreadyVoided,
                    Code::ReservationOwned,
                ]),
        ],
    )
}
