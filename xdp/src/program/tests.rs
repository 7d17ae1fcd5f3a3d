use super::*;

fn destinations(count: usize) -> Vec<SocketAddrV4> {
    (0..count).map(|i| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 7000 + i as u16)).collect()
}

#[test]
fn filters_are_checked() {
    assert!(Filter::new(&destinations(16), Some(4094)).is_ok());
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 7);
    let no_port = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let twice = [destinations(1)[0], destinations(1)[0]];
    for bad in [&destinations(0), &destinations(17), &vec![any], &vec![no_port], &twice.to_vec()] {
        assert!(matches!(Filter::new(bad, None), Err(Error::Config { .. })), "{bad:?}");
    }
    assert!(matches!(Filter::new(&destinations(1), Some(4095)), Err(Error::Config { .. })));
}

#[test]
fn jumps_stay_within_the_program_and_lead_forward() {
    for (count, vlan) in [(1, None), (16, None), (16, Some(7))] {
        let filter = Filter::new(&destinations(count), vlan).unwrap();
        let instructions = assemble::program(&filter, 3);
        let expected = 28 + 2 * (count - 1) + if vlan.is_some() { 10 } else { 0 };
        assert_eq!(instructions.len(), expected, "{count} {vlan:?}");
        for (at, instruction) in instructions.iter().enumerate() {
            let bytes = instruction.to_ne_bytes();
            let jump = matches!(bytes[0] & 7, 5 | 6) && !matches!(bytes[0], 0x85 | 0x95);
            if jump {
                let offset = i16::from_ne_bytes([bytes[2], bytes[3]]);
                assert!(offset >= 0 && at + 1 + (offset as usize) < instructions.len());
            }
        }
    }
}

/// Ends without an exit. The verifier's words, or what is missing to ask it at all.
#[test]
fn a_refused_program_comes_with_the_verifiers_words() {
    let falls_off_the_end = u64::from_ne_bytes([0xb7, 0, 0, 0, 2, 0, 0, 0]);
    match load(&[falls_off_the_end]) {
        Err(Error::Verifier { log }) => assert!(log.lines().count() > 1, "{log}"),
        Err(Error::MissingCapability { capability, .. }) => assert!(capability.contains("CAP_")),
        other => panic!("{other:?}"),
    }
}
