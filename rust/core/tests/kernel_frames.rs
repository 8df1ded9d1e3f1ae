//! Frames that a Linux 6.1 director sent, each with the frame that made it: the same bytes leave here.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use Action::{Answer, Gateway, Masquerade, PortUnreachable, TimeExceeded, Tunnel};
use fastlvs_core::capture::Capture;
use fastlvs_core::forward::icmp::Speaker;
use fastlvs_core::forward::{self, Rewrite, answer, gateway, icmp, masquerade, tunnel};
use fastlvs_core::frame::{Frame, NextHop, Offload};
use fastlvs_core::net::InterfaceId;
use fastlvs_core::network::Output;
use fastlvs_core::packet::{Packet, Parsed, parse};

/// What the director did.
#[derive(Clone, Copy, Debug)]
enum Action {
    Masquerade,
    Gateway,
    Tunnel,
    PortUnreachable,
    TimeExceeded,
    Answer,
}

/// One frame in, one frame out.
struct Case {
    about: &'static str,
    does: Action,
    /// The interfaces that they passed: 0 is the clients' side, 1 the real servers'.
    legs: (u16, u16),
    arrives: &'static str,
    leaves: &'static str,
}

const CASES: &[Case] = &[
    Case {
        about: "a SYN with its hop counted to the last, port translated",
        does: Masquerade,
        legs: (0, 1),
        arrives: "02000000000102000000000208004510002c1d06400002062c3213f009760a6307bc798b4e29d3c7c56c000000006002\
            2000e7b80000020405b4",
        leaves: "0201c0a873d002000000010108004510002c1d06400001060ad813f00976c0a873d0798bd37cd3c7c56c000000006002\
            2000400b0000020405b4",
    },
    Case {
        about: "the answer on its way back",
        does: Masquerade,
        legs: (1, 0),
        arrives: "0200000001010201c0a873d00800451000403443400080067486c0a873d013f00976d37c798b8cae5e34d3c7c56cb012\
            2000f2ea0000020405b4010303070402080a000000010000000001010101",
        leaves: "020000000002020000000001080045100040344340007f0697e00a6307bc13f009764e29798b8cae5e34d3c7c56cb012\
            20009a980000020405b4010303070402080a000000010000000001010101",
    },
    Case {
        about: "a UDP packet without checksum gets one",
        does: Masquerade,
        legs: (0, 1),
        arrives: "02000000000102000000000208004500003000004000401122284d2623410a639dcb88a47107001c0000e4d9b4b0567f\
            27cb28d60a2038a8b56c595804c9",
        leaves: "0201c0a851cf020000000101080045000030000040003f11b8de4d262341c0a851cf88a4eee1001c6e4fe4d9b4b0567f\
            27cb28d60a2038a8b56c595804c9",
    },
    Case {
        about: "an SCTP packet gets a new CRC",
        does: Masquerade,
        legs: (0, 1),
        arrives: "020000000001020000000002080045000034000040004084eff6454525770a63d5307bf31b1e000000001fe5ab700100\
            00140000000500010000000a000a00000063",
        leaves: "0201c0a853c3020000000101080045000034000040003f84bc1e45452577c0a853c37bf3f3600000000015f3678d0100\
            00140000000500010000000a000a00000063",
    },
    Case {
        about: "IPv6, TCP",
        does: Masquerade,
        legs: (0, 1),
        arrives: "02000000000102000000000286dd600000000014064020010db8ebf55ef5f66816aba7c780bffd000099000000000000\
            00000000e7e526ec03f2c86e61b60000000050022000a7200000",
        leaves: "0206ab8a0c0b02000000010186dd600000000014063f20010db8ebf55ef5f66816aba7c780bffd000005000000000000\
            0000ab8a0c0b26ec51f8c86e61b6000000005002200089fe0000",
    },
    Case {
        about: "IPv6, UDP",
        does: Masquerade,
        legs: (0, 1),
        arrives: "02000000000102000000000286dd600000000009114020010db8ebf55ef5f66816aba7c780bffd000099000000000000\
            00000000e7e526ec03f20009103f31",
        leaves: "0206ab8a0c0b02000000010186dd600000000009113f20010db8ebf55ef5f66816aba7c780bffd000005000000000000\
            0000ab8a0c0b26ec51f80009f31c31",
    },
    Case {
        about: "direct routing",
        does: Gateway,
        legs: (0, 1),
        arrives: "020000000001020000000002080045b8002865ca40004006eec7738318340a634f6caa01fe3f712b88a4000000005002\
            2000084b0000",
        leaves: "0201c0a831c4020000000101080045b8002865ca40003f06efc7738318340a634f6caa01fe3f712b88a4000000005002\
            2000084b0000",
    },
    Case {
        about: "without DF the outer packet bears a number",
        does: Tunnel,
        legs: (0, 1),
        arrives: "020000000001020000000002080045da0028105c0000110678e4610ae4090a63d03fbc0a635de485ab4a000000005002\
            2000c0f30000",
        leaves: "0201c0a86721020000000101080045da003ca2fd000010041e74c0a80001c0a8672145da0028105c0000100679e4610a\
            e4090a63d03fbc0a635de485ab4a0000000050022000c0f30000",
    },
    Case {
        about: "with DF it bears none; CE becomes ECT(0) outside",
        does: Tunnel,
        legs: (0, 1),
        arrives: "0200000000010200000000020800453700288b6540000206cd7d610ae4090a63d03fbc0a635de485ab4ad73f40ab5011\
            2000a8f90000",
        leaves: "0201c0a8672102000000010108004536003c0000400001049115c0a80001c0a86721453700288b6540000106ce7d610a\
            e4090a63d03fbc0a635de485ab4ad73f40ab50112000a8f90000",
    },
    Case {
        about: "IPv4 in IPv6",
        does: Tunnel,
        legs: (0, 1),
        arrives: "020000000001020000000002080045ec0028c643400002065b9a480213da0a63efc74d94472b203d02df000000005002\
            200082000000",
        leaves: "0206b845aa2e02000000010186dd6ec0000000280401fd000005000000000000000000000001fd000005000000000000\
            0000b845aa2e45ec0028c643400001065c9a480213da0a63efc74d94472b203d02df000000005002200082000000",
    },
    Case {
        about: "IPv6 in IPv4",
        does: Tunnel,
        legs: (0, 1),
        arrives: "02000000000102000000000286dd6d7000000014064020010db8f28334ea14f1220ff1b2a660fd000099000000000000\
            00000000f8f0e595f37dab3beb67000000005002200005660000",
        leaves: "0201c0a866a9020000000101080045d60050bfa900003f29d30ac0a80001c0a866a96d7000000014063f20010db8f283\
            34ea14f1220ff1b2a660fd00009900000000000000000000f8f0e595f37dab3beb67000000005002200005660000",
    },
    Case {
        about: "no real server",
        does: PortUnreachable,
        legs: (0, 0),
        arrives: "02000000000102000000000208004500002c000040004006336b7c12d8aa0a63a841ec2ffaeb82c6899d000000006002\
            20007d450000020405b4",
        leaves: "020000000002020000000001080045c0004854ef000040011da50a63a8417c12d8aa0303047d000000004500002c0000\
            40004006336b7c12d8aa0a63a841ec2ffaeb82c6899d00000000600220007d450000020405b4",
    },
    Case {
        about: "the time to live ends here",
        does: TimeExceeded,
        legs: (0, 0),
        arrives: "0200000000010200000000020800450000280000400001065a1a610ae4090a63d03fbc0a635de485ab4ad73f40ab5010\
            2000a8fa0000",
        leaves: "020000000002020000000001080045c000441f2b000040013b180a63d03f610ae4090b0014d100000000450000280000\
            400001065a1a610ae4090a63d03fbc0a635de485ab4ad73f40ab50102000a8fa0000",
    },
    Case {
        about: "a host resets an ACK",
        does: Answer,
        legs: (0, 0),
        arrives: "020000000001020000000002080045000028000040004006336f7c12d8aa0a63a841ec2ffaeb82c6899d423537ef5010\
            20001acf0000",
        leaves: "020000000002020000000001080045000028000040004006336f0a63a8417c12d8aafaebec2f423537ef000000005004\
            0000473f0000",
    },
    Case {
        about: "a host resets a SYN",
        does: Answer,
        legs: (0, 0),
        arrives: "02000000000102000000000208004500002800004000400678a76a2eda170a637380883fbdbdaa988b1e000000005002\
            200052050000",
        leaves: "02000000000202000000000108004500002800004000400678a70a6373806a2eda17bdbd883f00000000aa988b1f5014\
            000071f20000",
    },
    Case {
        about: "a host that does not speak SCTP",
        does: Answer,
        legs: (0, 0),
        arrives: "020000000001020000000002080045000034000040004084781d6a2eda170a6373800005bdbc00000000c8a7f0bb0100\
            001400000000000000000000000000000000",
        leaves: "020000000002020000000001080045c00050a45500004001136f0a6373806a2eda17030284c400000000450000340000\
            40004084781d6a2eda170a6373800005bdbc00000000c8a7f0bb0100001400000000000000000000000000000000",
    },
    Case {
        about: "a host answers an echo",
        does: Answer,
        legs: (0, 0),
        arrives: "02000000000102000000000208004500001d00014000400139446e9b4ef00a6339ad080089abac520001c2",
        leaves: "02000000000202000000000108004500001d9be500004001dd5f0a6339ad6e9b4ef0000091abac520001c2",
    },
];

#[test]
fn the_same_bytes_leave() {
    for case in CASES {
        let (arrives, leaves) = (bytes(case.arrives), bytes(case.leaves));
        let packet = read(case.legs.0, &arrives);
        let expected = read(case.legs.1, &leaves);
        let out = Output {
            hop: NextHop {
                interface: InterfaceId(case.legs.1),
                address: expected.destination(),
                mac: Some(expected.destination_mac),
            },
            source_mac: expected.source_mac,
            mtu: 1500,
            source: None,
        };
        // What the kernel drew at random.
        let number = u16::from_be_bytes([leaves[18], leaves[19]]);
        let mut sent = Capture::default();
        let done = match case.does {
            Masquerade => {
                let flow = expected.flow;
                let rewrite = Rewrite { source: flow.source, destination: flow.destination };
                masquerade::emit(&packet, &rewrite, &out, &mut sent)
            }
            Gateway => gateway::emit(&packet, &out, &mut sent),
            Tunnel => {
                let (source, destination) = (expected.source(), expected.destination());
                let tunnel = forward::Tunnel::ipip(source, destination, number);
                tunnel::emit(&packet, &tunnel, &out, &mut sent)
            }
            PortUnreachable | TimeExceeded => {
                let speaker = Speaker { address: packet.destination(), identification: number, out: &out };
                let error = match case.does {
                    TimeExceeded => icmp::Error::TIME_EXCEEDED,
                    _ => icmp::Error::PORT_UNREACHABLE,
                };
                icmp::emit(error, &packet, &speaker, &mut sent).map(drop)
            }
            Answer => answer::as_host(&packet, number, &out, &mut sent),
        };
        assert_eq!(done, Ok(()), "{}", case.about);
        assert_eq!(sent.frames, [(InterfaceId(case.legs.1), leaves, Offload::NONE)], "{}", case.about);
    }
}

fn read(leg: u16, bytes: &[u8]) -> Packet<'_> {
    match parse(&Frame { interface: InterfaceId(leg), bytes, offload: Offload::NONE }) {
        Ok(Parsed::Ip(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

fn bytes(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
