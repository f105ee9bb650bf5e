//! Here, two connections to one SQLite file stand for two processes.

use super::*;
use crate::reads::tests::Database;
use ifmatch_domain::State;
use ifmatch_types::{ApiKey, Role};

fn stored(id: &str, revoked_at: Option<Timestamp>) -> StoredApiKey {
    let key = ApiKey {
        id: ApiKeyId::from_unchecked(id),
        name: "somebody".to_owned(),
        role: Role::Viewer,
        workspace_id: None,
        acting_for: None,
        rotated_to: None,
        last_used_at: None,
        created_at: Timestamp::now(),
        expires_at: None,
        revoked_at,
    };
    let version = if revoked_at.is_some() { 2 } else { 1 };
    StoredApiKey { version, ..StoredApiKey::new(key, key::digest(&format!("the secret of {id}"))) }
}

/// Makes or revokes a key as another process does.
fn commit(db: &mut Db, stored: StoredApiKey) {
    let mut state = State::default();
    let id = stored.key.id.to_string();
    if stored.key.revoked_at.is_some() {
        let before = self::stored(&id, None);
        state.access_mut().api_keys.load(id.clone(), Some(before));
    }
    state.access_mut().api_keys.put(id, stored);
    db.begin().unwrap();
    db.save(&state, Timestamp::now()).unwrap();
    db.commit().unwrap();
}

async fn open(database: &Database) -> Keyring {
    Keyring::open(Arc::new(Reads::start(&database.url).unwrap())).await.unwrap()
}

fn accepts(keyring: &Keyring, id: &str) -> bool {
    let by_text = keyring.accept(&format!("the secret of {id}")).is_some();
    assert!(!by_text || !keyring.has_ended(&ApiKeyId::from_unchecked(id)));
    by_text
}

#[actix_web::test]
async fn keys_are_read_again_only_if_another_process_made_or_revoked_one() {
    let database = Database::create();
    let mut elsewhere = database.connect();
    let keyring = open(&database).await;
    assert!(!keyring.refresh().await.unwrap(), "nothing has changed");
    commit(&mut elsewhere, stored("key_1", None));
    assert!(!accepts(&keyring, "key_1"));
    assert!(keyring.refresh().await.unwrap());
    assert!(accepts(&keyring, "key_1"));
    assert!(!keyring.refresh().await.unwrap(), "nothing has changed since");
    commit(&mut elsewhere, stored("key_1", Some(Timestamp::now())));
    assert!(keyring.refresh().await.unwrap());
    assert!(!accepts(&keyring, "key_1"));
    assert!(!keyring.refresh().await.unwrap(), "nothing has changed since");
}

#[actix_web::test]
async fn what_this_process_did_itself_is_known_at_once_and_never_read() {
    let database = Database::create();
    let mut here = database.connect();
    let keyring = open(&database).await;
    commit(&mut here, stored("key_1", None));
    keyring.put(stored("key_1", None));
    assert!(accepts(&keyring, "key_1"));
    let revoked = stored("key_1", Some(Timestamp::now()));
    commit(&mut here, revoked.clone());
    keyring.put(revoked);
    assert!(!accepts(&keyring, "key_1"));
    keyring.put(stored("key_1", None));
    assert!(!accepts(&keyring, "key_1"), "late news do not undo a revocation");
    assert!(!keyring.refresh().await.unwrap());
    assert!(!accepts(&keyring, "key_1"));
}
