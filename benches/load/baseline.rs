//! The baseline: the same routes as a good team writes them, one transaction per request.
//!
//! Actix, Diesel, a pool, `web::block`. The UPDATE compares the version, the event is written in
//! the same transaction, and everything is as durable as in Ifmatch. A counter or a day is locked,
//! read, compared with its limit and increased. It has no rules, conflict explanation, idempotency
//! or audit, so it does less work than Ifmatch.

mod hot;
mod pool;
mod rows;

use crate::{Failure, process::KEY};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, error::ErrorInternalServerError, http::header, web,
};
use hot::{NewBooking, NewUsage};
use pool::Pool;
use rows::Edit;
use std::io::Write;

/// Serves until the process is told to stop.
pub fn serve(database_url: &str) -> Result<(), Failure> {
    let pool = web::Data::new(Pool::open(database_url)?);
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(pool.clone())
                .service(
                    web::resource("/v1/subscriptions/{id}")
                        .route(web::get().to(get))
                        .route(web::patch().to(patch)),
                )
                .route("/v1/workspaces/{id}/usage", web::post().to(post_usage))
                .route("/v1/bookings", web::post().to(post_booking))
        })
        .workers(std::thread::available_parallelism().map_or(2, usize::from))
        .bind("127.0.0.1:0")?;
        let address = *server.addrs().first().ok_or("an address")?;
        let server = server.run();
        println!("listening on http://{address}");
        std::io::stdout().flush()?;
        Ok(server.await?)
    })
}

async fn get(
    pool: web::Data<Pool>,
    request: HttpRequest,
    id: web::Path<String>,
) -> actix_web::Result<HttpResponse> {
    if !is_known(&request) {
        return Ok(HttpResponse::Unauthorized().finish());
    }
    let found = pool.read(move |connection| rows::find(connection, &id)).await?;
    Ok(match found {
        Some(subscription) => HttpResponse::Ok()
            .insert_header((header::ETAG, format!("\"{}\"", subscription.version)))
            .json(subscription),
        None => HttpResponse::NotFound().finish(),
    })
}

async fn patch(
    pool: web::Data<Pool>,
    request: HttpRequest,
    id: web::Path<String>,
    edit: web::Json<Edit>,
) -> actix_web::Result<HttpResponse> {
    if !is_known(&request) {
        return Ok(HttpResponse::Unauthorized().finish());
    }
    let request_id = uuid::Uuid::now_v7().to_string();
    let written =
        pool.write(move |connection| rows::write(connection, &id, &edit, &request_id)).await?;
    Ok(match written {
        Some(subscription) => HttpResponse::Ok()
            .insert_header((header::ETAG, format!("\"{}\"", subscription.version)))
            .json(subscription),
        None => HttpResponse::Conflict().json("version conflict"),
    })
}

async fn post_usage(
    pool: web::Data<Pool>,
    request: HttpRequest,
    id: web::Path<String>,
    new: web::Json<NewUsage>,
) -> actix_web::Result<HttpResponse> {
    if !is_known(&request) {
        return Ok(HttpResponse::Unauthorized().finish());
    }
    let request_id = uuid::Uuid::now_v7().to_string();
    let recorded = pool.write(move |connection| hot::record(connection, &id, &new, &request_id));
    Ok(match recorded.await? {
        Some(recorded) => HttpResponse::Created().json(recorded),
        None => HttpResponse::Forbidden().json("limit exceeded"),
    })
}

async fn post_booking(
    pool: web::Data<Pool>,
    request: HttpRequest,
    new: web::Json<NewBooking>,
) -> actix_web::Result<HttpResponse> {
    if !is_known(&request) {
        return Ok(HttpResponse::Unauthorized().finish());
    }
    let booked = pool.write(move |connection| hot::book(connection, &new)).await?;
    Ok(match booked {
        Some(booking) => HttpResponse::Created().json(booking),
        None => HttpResponse::Conflict().json("nothing is free"),
    })
}

fn is_known(request: &HttpRequest) -> bool {
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    given == Some(KEY)
}

fn failed(error: impl std::fmt::Display) -> actix_web::Error {
    ErrorInternalServerError(error.to_string())
}
