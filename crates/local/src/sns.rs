//! A topic of SNS, as far as those who are called by it can tell: messages in its form, signed by a key and a certificate of its own.
//!
//! Its signatures are of version 2 (SHA-256); the library that signs makes none by SHA-1.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::BASE64;
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};

/// The topic's ARN where none is chosen.
pub const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:ses-events";

/// One topic.
#[derive(Debug)]
pub struct Topic {
    arn: String,
    key: RsaKeyPair,
    certificate: String,
    ca: String,
}

impl Topic {
    /// A topic with a key and a CA that nobody else has.
    #[must_use]
    pub fn new(arn: &str) -> Self {
        let ca_key = KeyPair::generate().expect("the system has random bytes");
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name
            .push(DnType::CommonName, "look-alike of SNS");
        let ca_certificate = ca.self_signed(&ca_key).expect("the parameters are constant");
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("the system has random bytes");
        let certificate = CertificateParams::new(["sns.amazonaws.com".to_owned()])
            .and_then(|params| params.signed_by(&key, &Issuer::new(ca, ca_key)))
            .expect("the parameters are constant");
        Self {
            arn: arn.to_owned(),
            key: RsaKeyPair::from_pkcs8(&key.serialize_der()).expect("a key that was just made"),
            certificate: certificate.pem(),
            ca: ca_certificate.pem(),
        }
    }

    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The certificate of the signatures, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The CA that it leads to, PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// A notification; `id` is the same when it is repeated.
    #[must_use]
    pub fn notification(&self, id: &str, message: &str, certificate_url: &str) -> Value {
        self.signed(
            json!({
                "Type": "Notification", "MessageId": id, "TopicArn": self.arn, "Message": message,
                "Timestamp": Timestamp::now().to_string(),
            }),
            certificate_url,
        )
    }

    /// The question whether an address wants the topic's messages; it says yes by asking `subscribe_url`.
    #[must_use]
    pub fn confirmation(&self, id: &str, subscribe_url: &str, certificate_url: &str) -> Value {
        self.signed(
            json!({
                "Type": "SubscriptionConfirmation", "MessageId": id, "TopicArn": self.arn, "Token": "look-alike",
                "Message": "You have chosen to subscribe to the topic.", "SubscribeURL": subscribe_url,
                "Timestamp": Timestamp::now().to_string(),
            }),
            certificate_url,
        )
    }

    /// All fields of such a message are signed, in the order of their names.
    fn signed(&self, mut message: Value, certificate_url: &str) -> Value {
        let mut fields: Vec<(&str, &str)> = message
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
            .collect();
        fields.sort_unstable();
        let text: String = fields
            .iter()
            .map(|(name, value)| format!("{name}\n{value}\n"))
            .collect();
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                text.as_bytes(),
                &mut signature,
            )
            .expect("the signature is as long as the modulus");
        message["SignatureVersion"] = "2".into();
        message["Signature"] = BASE64.encode(&signature).into();
        message["SigningCertURL"] = certificate_url.into();
        message
    }
}
