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

fn key(vault: &Vault, n: u128) -> Option<DataKey> {
    match vault.data_key(subject(n)).unwrap() {
        Held::Key(key) => Some(key),
        Held::Erased | Held::Absent => None,
    }
}

/// Writes into the row of a subject.
fn damage(directory: &Path, n: u128) {
    let connection = Connection::open(directory.join(FILE_NAME)).unwrap();
    let mut wrapped = row(directory, subject(n)).unwrap();
    wrapped[40] ^= 1;
    let sql = "UPDATE data_keys SET wrapped = ?2 WHERE subject = ?1";
    assert_eq!(connection.execute(sql, rusqlite::params![subject(n).to_bytes(), wrapped]).unwrap(), 1);
}

#[tokio::test]
async fn a_data_key_stays_the_same_and_is_not_in_the_file_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    assert!(key(&vault, 1).is_none());
    vault.prepare([subject(1), subject(2), subject(1)]).await.unwrap();
    let (first, second) = (key(&vault, 1).unwrap(), key(&vault, 2).unwrap());
    assert_ne!(first, second);
    vault.prepare([subject(1)]).await.unwrap();
    assert_eq!(key(&vault, 1).unwrap(), first);
    assert!(!holds(&bytes_of(directory.path()), first.expose()));
    drop(vault);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    assert_eq!(key(&vault, 1).unwrap(), first);
    assert_eq!(key(&vault, 2).unwrap(), second);
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
    assert!(key(&vault, 1_234).is_none());
    // Also before it ever had one, and again.
    vault.erase(subject(9_999)).unwrap();
    vault.erase(subject(9_999)).unwrap();
    vault.prepare([subject(9_999)]).await.unwrap();
    drop(vault);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    for gone in [1_234, 9_999] {
        assert!(vault.is_erased(subject(gone)).unwrap());
        assert!(matches!(vault.data_key(subject(gone)).unwrap(), Held::Erased));
    }
    assert!(key(&vault, 1_235).is_some());
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
    assert!(key(&vault, 1).is_some());
    // What cannot be read is not taken for what was erased.
    assert!(matches!(vault.data_key(subject(2)).unwrap(), Held::Absent));
    assert!(!vault.is_erased(subject(2)).unwrap());
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
            key(&vault, n % 8).unwrap()
        })
    });
    let keys = futures_util::future::join_all(tasks).await;
    for (n, found) in keys.into_iter().enumerate() {
        assert_eq!(found.unwrap(), key(&vault, n as u128 % 8).unwrap());
    }
}

#[tokio::test]
async fn a_damaged_row_loses_its_own_data_key_and_what_comes_after_gets_another() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    vault.prepare((0..5).map(subject)).await.unwrap();
    let before: Vec<_> = (0..5).map(|n| key(&vault, n).unwrap()).collect();
    vault.erase(subject(4)).unwrap();
    drop(vault);
    for n in [1, 2, 3] {
        damage(directory.path(), n);
    }
    let damaged = row(directory.path(), subject(3)).unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    for n in [1, 2, 3] {
        assert!(matches!(vault.data_key(subject(n)).unwrap(), Held::Absent), "{n}");
    }
    assert_eq!(key(&vault, 0).unwrap(), before[0]);
    assert!(matches!(vault.data_key(subject(4)).unwrap(), Held::Erased));
    // Both ways of sealing something give it another one, once.
    vault.prepare([subject(1), subject(0)]).await.unwrap();
    let made = vault.key_to_seal(subject(2)).unwrap().unwrap();
    assert_eq!(key(&vault, 2).unwrap(), made);
    assert_ne!(made, before[2]);
    let other = key(&vault, 1).unwrap();
    assert_ne!(other, before[1]);
    assert_eq!(vault.key_to_seal(subject(1)).unwrap().unwrap(), other);
    assert_eq!(vault.key_to_seal(subject(4)).unwrap(), None);
    drop(vault);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    assert_eq!((key(&vault, 1).unwrap(), key(&vault, 0).unwrap()), (other, before[0].clone()));
    // Nothing is left of a damaged one either, once it is erased.
    assert!(vault.key_to_seal(subject(3)).unwrap().is_some());
    assert!(holds(&bytes_of(directory.path()), &damaged));
    vault.erase(subject(3)).unwrap();
    assert!(!holds(&bytes_of(directory.path()), &damaged));
    assert!(vault.is_erased(subject(3)).unwrap());
}

#[tokio::test]
async fn no_damage_to_a_row_is_taken_for_an_erasure() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(FILE_NAME);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    vault.prepare((0..5).map(subject)).await.unwrap();
    vault.erase(subject(4)).unwrap();
    let keys: Vec<_> = (0..4).map(|n| key(&vault, n).unwrap()).collect();
    drop(vault);
    let whole = std::fs::read(&file).unwrap();
    let label = subject(1).to_bytes();
    let at = whole.windows(label.len()).position(|window| window == label).unwrap();
    // The two bytes that say what the second column is, the subject, and the column.
    let wrapped = at + label.len();
    for byte in at - 2..wrapped + 72 {
        // Later bytes are all of a kind.
        for bit in if byte < wrapped + 2 { 0..8 } else { 0..1 } {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1 << bit;
            std::fs::write(&file, damaged).unwrap();
            let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
            assert!(matches!(vault.data_key(subject(1)).unwrap(), Held::Absent), "byte {byte}, bit {bit}");
            assert!(!vault.is_erased(subject(1)).unwrap(), "byte {byte}, bit {bit}");
            if !(at..wrapped).contains(&byte) {
                for n in [0, 2, 3] {
                    assert_eq!(key(&vault, n).unwrap(), keys[n as usize], "byte {byte}, bit {bit}, key {n}");
                }
                assert!(
                    matches!(vault.data_key(subject(4)).unwrap(), Held::Erased),
                    "byte {byte}, bit {bit}"
                );
            }
            drop(vault);
            let _ = examine(directory.path(), Some(&master())).unwrap();
        }
    }
}

#[tokio::test]
async fn nobody_is_erased_where_rows_are_not_where_they_should_be() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(FILE_NAME);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    vault.prepare((0..5).map(subject)).await.unwrap();
    drop(vault);
    let mut bytes = std::fs::read(&file).unwrap();
    let label = subject(2).to_bytes();
    let at = bytes.windows(label.len()).position(|window| window == label).unwrap();
    bytes[at + label.len() - 1] = 200;
    std::fs::write(&file, bytes).unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    assert!(vault.erase(subject(1)).is_err());
    assert!(!vault.is_erased(subject(1)).unwrap());
    assert!(key(&vault, 0).is_some());
}

#[tokio::test]
async fn what_was_sealed_with_a_row_that_is_gone_is_absent_and_not_erased() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    assert!(matches!(vault.data_key(subject(1)).unwrap(), Held::Absent));
    assert!(!vault.is_erased(subject(1)).unwrap());
    vault.prepare([subject(1)]).await.unwrap();
    assert!(key(&vault, 1).is_some());
}

#[tokio::test]
async fn a_damaged_row_of_the_master_key_does_not_close_the_vault() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    vault.prepare([subject(1)]).await.unwrap();
    let before = key(&vault, 1).unwrap();
    drop(vault);
    for sql in ["UPDATE master SET wrapped = zeroblob(72)", "DELETE FROM master"] {
        Connection::open(directory.path().join(FILE_NAME)).unwrap().execute(sql, []).unwrap();
        let error = Vault::open_in(directory.path(), &MasterKey::new([8; 32]), Edge::default()).unwrap_err();
        assert!(matches!(error, OpenError::MasterKeyWrong { .. }), "{error}");
        let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
        assert_eq!(key(&vault, 1).unwrap(), before);
    }
}

#[tokio::test]
async fn a_look_at_the_file_tells_what_is_lost_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(examine(directory.path(), None).unwrap(), None);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    vault.prepare((0..5).map(subject)).await.unwrap();
    vault.erase(subject(4)).unwrap();
    let whole = Condition { whole: 4, erased: 1, opened: true, ..Condition::default() };
    // While it is open, and after that.
    assert_eq!(examine(directory.path(), Some(&master())).unwrap().unwrap(), whole);
    drop(vault);
    damage(directory.path(), 2);
    let before = bytes_of(directory.path());
    let found = examine(directory.path(), Some(&master())).unwrap().unwrap();
    assert_eq!((found.whole, found.lost, found.opened), (3, 1, true));
    assert_eq!(found.subjects, [subject(2).to_string()]);
    for other in [None, Some(MasterKey::new([8; 32]))] {
        let found = examine(directory.path(), other.as_ref()).unwrap().unwrap();
        assert_eq!((found.whole, found.lost, found.opened), (4, 0, false), "the form is right");
    }
    assert_eq!(bytes_of(directory.path()), before);
    // Replaced or not, it is lost.
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    vault.prepare([subject(2)]).await.unwrap();
    let found = examine(directory.path(), Some(&master())).unwrap().unwrap();
    assert_eq!((found.whole, found.lost, found.is_whole()), (4, 1, false));
}

#[tokio::test]
async fn whoever_reads_in_order_has_what_follows_at_hand_and_nothing_that_was_erased() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    vault.prepare((0..2_000).map(subject)).await.unwrap();
    let keys: Vec<_> = (0..2_000).map(|n| key(&vault, n).unwrap()).collect();
    vault.erase(subject(60)).unwrap();
    drop(vault);
    damage(directory.path(), 61);
    let vault = Vault::open_in(directory.path(), &master(), Edge::default()).unwrap();
    // Two readers in order, and one who is not.
    for n in 0..40_u128 {
        for at in [n, 1_000 + n, (n * 617 + 300) % 600 + 300] {
            assert_eq!(key(&vault, at).unwrap(), keys[at as usize], "{at}");
        }
    }
    // What stands in the file now is not asked for.
    let connection = Connection::open(directory.path().join(FILE_NAME)).unwrap();
    connection.execute("UPDATE data_keys SET wrapped = zeroblob(72) WHERE length(wrapped) = 72", []).unwrap();
    for at in [45, 59, 62, 1_045, 1_062] {
        assert_eq!(key(&vault, at).unwrap(), keys[at as usize], "{at}");
    }
    assert!(matches!(vault.data_key(subject(60)).unwrap(), Held::Erased));
    assert!(matches!(vault.data_key(subject(61)).unwrap(), Held::Absent));
    assert!(matches!(vault.data_key(subject(1_999)).unwrap(), Held::Absent), "it was not read before");
    // What is erased now is not at hand any more, though it was read ahead.
    vault.erase(subject(45)).unwrap();
    assert!(matches!(vault.data_key(subject(45)).unwrap(), Held::Erased));
}
