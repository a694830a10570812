use keyledger_schema::KeyId;
use uuid::Uuid;

use super::*;

fn master() -> MasterKey {
    MasterKey::new([7; 32])
}

fn subject(n: u128) -> Subject {
    Subject::Key(KeyId::from_uuid(Uuid::from_u128(n)))
}

fn bytes_of(directory: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(directory).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn row(directory: &Path, subject: Subject) -> Option<Vec<u8>> {
    let connection = Connection::open(directory.join(FILE_NAME)).unwrap();
    let sql = "SELECT wrapped FROM data_keys WHERE subject = ?1";
    connection.query_row(sql, [subject.to_bytes()], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_data_key_stays_the_same_and_is_not_in_the_file_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    assert!(vault.data_key(subject(1)).unwrap().is_none());
    vault.prepare([subject(1), subject(2), subject(1)]).await.unwrap();
    let (first, second) =
        (vault.data_key(subject(1)).unwrap().unwrap(), vault.data_key(subject(2)).unwrap().unwrap());
    assert_ne!(first, second);
    vault.prepare([subject(1)]).await.unwrap();
    assert_eq!(vault.data_key(subject(1)).unwrap().unwrap(), first);
    assert!(!holds(&bytes_of(directory.path()), first.expose()));
    drop(vault);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    assert_eq!(vault.data_key(subject(1)).unwrap().unwrap(), first);
    assert_eq!(vault.data_key(subject(2)).unwrap().unwrap(), second);
}

#[tokio::test]
async fn what_is_erased_is_gone_from_every_file_and_never_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    vault.prepare((0..2_000).map(subject)).await.unwrap();
    let wrapped = row(directory.path(), subject(1_234)).unwrap();
    assert!(holds(&bytes_of(directory.path()), &wrapped[24..]));
    vault.erase(subject(1_234)).unwrap();
    assert!(!holds(&bytes_of(directory.path()), &wrapped[24..]));
    assert!(vault.is_erased(subject(1_234)).unwrap() && !vault.is_erased(subject(1_235)).unwrap());
    vault.prepare([subject(1_234)]).await.unwrap();
    assert!(vault.data_key(subject(1_234)).unwrap().is_none());
    // Also before it ever had one, and again.
    vault.erase(subject(9_999)).unwrap();
    vault.erase(subject(9_999)).unwrap();
    vault.prepare([subject(9_999)]).await.unwrap();
    drop(vault);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    for gone in [1_234, 9_999] {
        assert!(vault.is_erased(subject(gone)).unwrap() && vault.data_key(subject(gone)).unwrap().is_none());
    }
    assert!(vault.data_key(subject(1_235)).unwrap().is_some());
}

#[tokio::test]
async fn rows_cannot_be_exchanged_and_another_master_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    vault.prepare([subject(1), subject(2)]).await.unwrap();
    drop(vault);
    let connection = Connection::open(directory.path().join(FILE_NAME)).unwrap();
    let sql = "UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE subject = ?1) WHERE subject = ?2";
    connection.execute(sql, [subject(1).to_bytes(), subject(2).to_bytes()]).unwrap();
    drop(connection);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    assert!(vault.data_key(subject(1)).unwrap().is_some());
    // What cannot be read is not taken for what is not there.
    assert!(vault.data_key(subject(2)).is_err() && vault.is_erased(subject(2)).is_err());
    assert!(vault.prepare([subject(2)]).await.is_err());
    drop(vault);
    let error = Vault::open_in(directory.path(), &MasterKey::new([8; 32]), Edge::default()).unwrap_err();
    assert!(matches!(error, OpenError::MasterKeyWrong { .. }), "{error}");
}

#[tokio::test]
async fn many_at_once_get_one_key_each() {
    let vault = Arc::new(Vault::in_memory(&master(), Edge::default()).unwrap());
    let tasks = (0..64).map(|n| {
        let vault = Arc::clone(&vault);
        tokio::spawn(async move {
            vault.prepare([subject(n % 8), subject(100 + n)]).await.unwrap();
            vault.data_key(subject(n % 8)).unwrap().unwrap()
        })
    });
    let keys = futures_util::future::join_all(tasks).await;
    for (n, key) in keys.into_iter().enumerate() {
        assert_eq!(key.unwrap(), vault.data_key(subject(n as u128 % 8)).unwrap().unwrap());
    }
}
