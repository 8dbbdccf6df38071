"""Names in the exchange directory of an administration.

partners.toml    whose messages are accepted
officer.key      private key with which messages are signed by default
keys/            keys of the operations (*.operation)
drafts/          documents that no officer has signed yet
outbox/          signed messages to carry to the partners: any folder, share or mailbox will do
inbox/           messages of partners, as they came
received/        those that were accepted
refused/         those that were not, each with the reason in a file .txt
"""

PARTNERS_FILE, OFFICER_KEY = "partners.toml", "officer.key"
KEYS_FOLDER, DRAFTS, OUTBOX = "keys", "drafts", "outbox"
INBOX, RECEIVED, REFUSED = "inbox", "received", "refused"
MESSAGE_SUFFIX = ".json"
