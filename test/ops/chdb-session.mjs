/**
 * A whole ClickHouse without a server, for checks of what is written for one: the embedded ClickHouse of Millrace
 * refuses what reaches other machines. Argument: its directory. Each message is SQL, each answer `{text}` or `{fault}`.
 */
import { Session } from 'chdb';

const session = new Session(process.argv[2]);
process.on('message', (sql) => {
  try {
    process.send({ text: session.query(sql, 'TSV').trim() });
  } catch (error) {
    process.send({ fault: error.message });
  }
});
