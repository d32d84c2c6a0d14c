// An independent SMPP peer: the npm package smpp, as an SMSC or as an ESME.
//
//	node peer.js smsc             listens, prints {"port":N}, then a line for each thing that comes
//	node peer.js esme PORT        binds to the SMSC at the port, submits, prints a line for each answer
//
// It ends when its standard input does.
'use strict';
const smpp = require('smpp');

const tell = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const plain = (m) => ({
  udh: m.udh ? Buffer.concat(m.udh).toString('hex') : '',
  text: Buffer.isBuffer(m.message) ? m.message.toString('hex') : m.message,
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

function smsc() {
  let ids = 0;
  const server = smpp.createServer((session) => {
    session.on('error', () => {});
    session.on('bind_transceiver', (pdu) => {
      const ok = pdu.system_id === 'edition' && pdu.password === 'secret';
      tell({ bind: pdu.system_id, version: pdu.interface_version });
      session.send(pdu.response({ command_status: ok ? smpp.ESME_ROK : smpp.ESME_RINVPASWD, system_id: 'peer' }));
      if (ok) session.enquire_link({}, () => tell({ enquired: true }));
    });
    session.on('submit_sm', (pdu) => {
      const message_id = 'peer-' + ++ids;
      const busy = pdu.destination_addr.endsWith('9');
      session.send(pdu.response({ command_status: busy ? smpp.ESME_RMSGQFUL : smpp.ESME_ROK, message_id }));
      if (busy) return;
      tell({
        to: pdu.destination_addr, ton: pdu.dest_addr_ton, npi: pdu.dest_addr_npi, from: pdu.source_addr,
        esm_class: pdu.esm_class, data_coding: pdu.data_coding, ...plain(pdu.short_message),
      });
      session.deliver_sm({
        source_addr: pdu.destination_addr, destination_addr: pdu.source_addr, esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
        short_message: `id:${message_id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 stat:DELIVRD err:000 text:`,
      }, (answer) => tell({ receipt: answer.command_status }));
    });
    session.on('enquire_link', (pdu) => session.send(pdu.response()));
    session.on('unbind', (pdu) => {
      tell({ unbind: true });
      session.send(pdu.response());
      session.close();
    });
  });
  server.listen(0, '127.0.0.1', () => tell({ port: server.address().port }));
}

function esme(port) {
  const session = smpp.connect({ url: 'smpp://127.0.0.1:' + port }, () => {
    session.submit_sm({ destination_addr: '34600111222', short_message: 'too early' }, (early) => {
      tell({ early: early.command_status });
      session.bind_transceiver({ system_id: 'edition', password: 'secret' }, (bound) => {
        tell({ bound: bound.command_status, system_id: bound.system_id });
        const to = { destination_addr: '34600111222', dest_addr_ton: 1, dest_addr_npi: 1, registered_delivery: 1 };
        session.submit_sm({ ...to, data_coding: 0, short_message: 'Hello [€]' }, (a) => tell({ text: a.command_status, id: a.message_id }));
        session.submit_sm({ ...to, data_coding: 8, short_message: '起きて' }, (a) => tell({ ucs2: a.command_status }));
        session.submit_sm({ ...to, destination_addr: '+34', short_message: 'x' }, (a) => tell({ nobody: a.command_status }));
        session.enquire_link({}, (a) => tell({ enquired: a.command_status }));
        session.query_sm({ message_id: '1' }, (a) => tell({ unknown: a.command, status: a.command_status }));
      });
    });
  });
  session.on('error', (err) => tell({ error: String(err) }));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  let receipts = 0;
  session.on('deliver_sm', (pdu) => {
    session.send(pdu.response());
    tell({ receipt: pdu.short_message.message, state: pdu.message_state, of: pdu.receipted_message_id });
    if (++receipts === 2) session.unbind({}, (a) => tell({ unbound: a.command_status }));
  });
}

if (process.argv[2] === 'smsc') smsc();
else esme(process.argv[3]);
