//! Server reflection (`grpc.reflection.v1` and `v1alpha`) that ends with its server.
//!
//! Tools hold its stream open for as long as they run, and no drain could outlast them. So the requests of a stream are at their
//! end when the server stops, and its answers with them.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::Request;
use http_body::{Body as HttpBody, Frame};
use paceline_wire::DESCRIPTORS;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_reflection::server::{Builder, Error, v1, v1alpha};
use tower::Service;

use crate::connection::Served;

/// Health, which every listener serves.
const HEALTH: &str = "grpc.health.v1.Health";

/// The newer of both versions: lists `services`, those of Paceline, and health.
///
/// # Errors
/// If the descriptors of the contracts can't be read.
pub fn current(
    services: &[&str],
) -> Result<Ending<v1::ServerReflectionServer<impl v1::ServerReflection>>, Error> {
    builder(services).build_v1().map(Ending)
}

/// The older one, which many tools still ask first.
///
/// # Errors
/// As [`current`].
pub fn older(
    services: &[&str],
) -> Result<Ending<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>>, Error> {
    builder(services).build_v1alpha().map(Ending)
}

fn builder<'a>(services: &[&str]) -> Builder<'a> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(HEALTH);
    services
        .iter()
        .fold(builder, |builder, service| builder.with_service_name(*service))
}

/// A service whose requests are at their end when their server stops.
#[derive(Clone, Debug)]
pub struct Ending<S>(S);

impl<S: NamedService> NamedService for Ending<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Ending<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let request = match request.extensions().get::<Served>().cloned() {
            Some(served) => request.map(|body| {
                let stopped = Box::pin(async move { served.until.requested().await });
                Body::new(UntilStopped { body, stopped })
            }),
            None => request,
        };
        self.0.call(request)
    }
}

/// A request's body, as far as it has come when the server stops.
struct UntilStopped {
    body: Body,
    stopped: BoxFuture<'static, ()>,
}

impl HttpBody for UntilStopped {
    type Data = <Body as HttpBody>::Data;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.stopped.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => pin!(&mut self.body).poll_frame(context),
        }
    }
}
