//! Finding the leader among real gRPC servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use paceline_kit::client::{Client, ClientSettings};
use paceline_sender::LeaseSource as _;
use paceline_sender::leases::{Coordinators, LeaseError};
use paceline_wire::v1;
use paceline_wire::v1::throttle_service_server::{ThrottleService, ThrottleServiceServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A coordinator that grants nothing but answers, or names the leader.
#[derive(Clone)]
struct Coordinator {
    leader: Option<String>,
    asked: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl ThrottleService for Coordinator {
    async fn refresh(
        &self,
        request: Request<v1::RefreshRequest>,
    ) -> Result<Response<v1::RefreshResponse>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let Some(leader) = &self.leader else {
            let epoch = request.into_inner().epoch_seen + 1;
            return Ok(Response::new(v1::RefreshResponse {
                epoch,
                ..v1::RefreshResponse::default()
            }));
        };
        let metadata = std::collections::HashMap::from([("leader".to_owned(), leader.clone())]);
        let details = ErrorDetails::with_error_info("not_leader", "paceline", metadata);
        Err(Status::with_error_details(
            Code::FailedPrecondition,
            "not the leader",
            details,
        ))
    }

    async fn release(&self, _: Request<v1::ReleaseRequest>) -> Result<Response<v1::ReleaseResponse>, Status> {
        Ok(Response::new(v1::ReleaseResponse {}))
    }

    async fn describe(
        &self,
        _: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::DescribeResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    type JournalStream = tokio_stream::Empty<Result<v1::JournalResponse, Status>>;

    async fn journal(&self, _: Request<v1::JournalRequest>) -> Result<Response<Self::JournalStream>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn feedback(
        &self,
        _: Request<v1::FeedbackRequest>,
    ) -> Result<Response<v1::FeedbackResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn set_override(
        &self,
        _: Request<v1::SetOverrideRequest>,
    ) -> Result<Response<v1::SetOverrideResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn clear_override(
        &self,
        _: Request<v1::ClearOverrideRequest>,
    ) -> Result<Response<v1::ClearOverrideResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn start_warm_up(
        &self,
        _: Request<v1::StartWarmUpRequest>,
    ) -> Result<Response<v1::StartWarmUpResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn stop_warm_up(
        &self,
        _: Request<v1::StopWarmUpRequest>,
    ) -> Result<Response<v1::StopWarmUpResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

async fn start(leader: Option<String>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let coordinator = Coordinator {
        leader,
        asked: Arc::clone(&asked),
    };
    let server = tonic::transport::Server::builder().add_service(ThrottleServiceServer::new(coordinator));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, asked)
}

fn client() -> Client {
    let settings = ClientSettings::default();
    settings.read().expect("no files to read")
}

#[tokio::test]
async fn the_leader_is_asked_once_another_has_named_it() {
    let (leader, asked) = start(None).await;
    // As an address, and as a URI.
    for named in [leader.to_string(), format!("http://{leader}")] {
        let (standby, standby_asked) = start(Some(named)).await;
        let mut coordinators = Coordinators::new(vec![format!("http://{standby}")], client());
        let before = asked.load(Ordering::SeqCst);
        for _ in 0..3 {
            let answer = coordinators.refresh(v1::RefreshRequest::default()).await;
            assert_eq!(answer.expect("the leader answers").epoch, 1);
        }
        assert_eq!(standby_asked.load(Ordering::SeqCst), 1);
        assert_eq!(asked.load(Ordering::SeqCst), before + 3);
    }
}

#[tokio::test]
async fn who_can_t_be_reached_or_knows_no_leader_is_passed_over() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nowhere = gone.local_addr().expect("bound");
    drop(gone);
    let (lost, _) = start(Some(String::new())).await;
    let (leader, _) = start(None).await;
    let addresses = [nowhere, lost, leader].map(|address| format!("http://{address}"));
    let mut coordinators = Coordinators::new(addresses.to_vec(), client());
    let request = v1::RefreshRequest::default;
    assert!(matches!(
        coordinators.refresh(request()).await,
        Err(LeaseError::Refused { .. })
    ));
    assert!(matches!(
        coordinators.refresh(request()).await,
        Err(LeaseError::NoLeader { .. })
    ));
    coordinators
        .refresh(request())
        .await
        .expect("the third one leads");
    coordinators.refresh(request()).await.expect("and is asked again");
}
