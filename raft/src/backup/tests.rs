//! Tests of backups: a whole one is read, and whatever is wrong with it is told with its place.

use super::*;

fn header() -> BackupHeader {
    BackupHeader {
        release: "0.1.0".to_owned(),
        cluster: ClusterId::new(7),
        epoch: Epoch::FIRST,
        revision: Revision::new(5),
        term: Term::new(2),
        at: Millis::new(3),
        objects: 0,
    }
}

fn backup() -> Vec<u8> {
    let mut bytes = Vec::new();
    let take = |piece: Bytes| {
        bytes.extend_from_slice(&piece);
        Ok(())
    };
    write(&header(), &Store::new(), take).unwrap();
    bytes
}

#[test]
fn a_whole_backup_is_read_and_its_bytes_are_what_they_were() {
    let bytes = backup();
    let verified = verify(&bytes[..]).unwrap();
    assert_eq!(verified, Verified { header: header(), bytes: bytes.len() as u64 });
    assert!(bytes.starts_with(b"KRAKNBAK\x01\0\0\0"));
    // What older releases wrote is read for ever: head, header and end have these bytes.
    let header = rmp_serde::to_vec_named(&header()).unwrap();
    let (head, rest) = bytes.split_at(20);
    assert_eq!(head[..12], *b"KRAKNBAK\x01\0\0\0");
    assert_eq!(head[12..16], 60_u32.to_le_bytes());
    assert_eq!(head[16..], crc32fast::hash(&header).to_le_bytes());
    assert_eq!(rest[..header.len()], header);
    assert!(header.starts_with(b"\x87\xa7release\xa50.1.0\xa7cluster\x07\xa5epoch\x01"));
    let (all, sum) = bytes.split_last_chunk::<4>().unwrap();
    let (all, end) = all.split_last_chunk::<4>().unwrap();
    assert_eq!((*end, *sum), ([0; 4], crc32fast::hash(all).to_le_bytes()));
}

#[test]
fn a_backup_that_is_cut_anywhere_is_torn() {
    let bytes = backup();
    for end in 0..bytes.len() {
        match verify(&bytes[..end]) {
            Err(BackupError::Stranger) => assert!(end < 12, "{end}"),
            Err(BackupError::Torn { offset }) => assert!(offset <= end as u64, "{offset} {end}"),
            other => panic!("cut at {end}: {other:?}"),
        }
    }
}

#[test]
fn a_backup_with_any_wrong_byte_is_refused() {
    let bytes = backup();
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x40;
        let error = verify(&wrong[..]).unwrap_err();
        match at {
            0..8 => assert!(matches!(error, BackupError::Stranger), "{at}: {error}"),
            8..12 => assert!(matches!(error, BackupError::Version { .. }), "{at}: {error}"),
            _ => assert!(
                matches!(error, BackupError::Damaged { .. } | BackupError::Torn { .. }),
                "{at}: {error}"
            ),
        }
    }
}

#[test]
fn bytes_behind_the_end_are_refused() {
    let mut bytes = backup();
    bytes.push(0);
    assert!(matches!(verify(&bytes[..]), Err(BackupError::Damaged { .. })));
}

#[test]
fn a_store_of_many_blocks_is_read_again() {
    let many = vec![7_u8; BLOCK_BYTES * 2 + 9];
    let mut pieces = Vec::new();
    let mut blocks = Blocks {
        take: |piece: Bytes| {
            pieces.push(piece);
            Ok(())
        },
        block: BytesMut::new(),
        sum: crc32fast::Hasher::new(),
    };
    blocks.write_all(&many).unwrap();
    blocks.end_block().unwrap();
    blocks.end().unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= BLOCK_BYTES));
    let bytes = pieces.concat();
    let sum = crc32fast::Hasher::new();
    let source = Source { inner: &bytes[..], offset: 0, sum };
    let mut body = Body { source, block: Bytes::new(), ended: false, failed: None };
    let mut read = Vec::new();
    body.read_to_end(&mut read).unwrap();
    assert_eq!(read, many);
    assert!(body.is_over().unwrap());
}
