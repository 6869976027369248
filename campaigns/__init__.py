"""What to do and when: campaigns, lists, recipients, and the ledger that remembers all of them.

Nothing here knows of Celery, Redis or AWS. In reading order:

    mistake.py             the one exception whose text is shown to the user
    plain_text.py          what is not seen as text becomes an escape
    plain_logs.py          the same for logs and tracebacks
    nearest.py             what a misspelt name may have been meant to be
    client_token.py        the name of one attempt, for ever
    connect_ids.py         a pasted GUID, ARN or console URL → the GUID that the API wants
    attempt.py             states, outcomes, legal moves
    brake.py               when calls are held back because Connect answers them with errors
    redial.py              (outcome, attempts so far, now) → RedialAt | Done
    stranger.py            a call that Connect lists and the ledger does not know: whose can it be?
    limits.py              how often may a number be rung? if not now, when next?
    turns.py               whose turn is it? fair share between campaigns
    public_holidays.py     is this day a holiday there?
    zone_data.py           the newest data on time zones, and which zones a country has
    calling_hours.py       may we ring now? if not, when next?
    problem.py             what keeps a process from its work: its code, and words
    time_zone_name.py      a cell → an IANA zone
    time_zone_hints.py     what a text that is none may have been meant to be
    side.py                which side dials: Amazon Connect, or the sandbox for a trial
    toml_values.py         durations and tables, as a campaign's file writes them
    presets.py             rules on calling hours that others have made
    calling_hours_options.py  the file's [calling_hours]
    when.py                the file's [limits], [schedule], [reminder], [suppression]
    schedule.py            when does a schedule fire? which fire is to be run now?
    connect_options.py     the file's [connect]
    campaign.py            one campaign's choices, read from TOML
    stored.py              the same as the ledger keeps it, read without being judged again
    conflicts.py           choices of one campaign that cannot all hold
    waits.py               who waits for which rule, and until when
    forecast.py            when would everybody have been called?
    campaign_source.py     the file that they were read from, and whether it is still the same
    changes.py             what differs between two versions of a campaign's file
    recipient.py           a person we may call
    first_digits.py        with which digits can a number of this pattern begin?
    number_patterns.py     the patterns of valid numbers, by country code and length
    numbering_plan.py      are these digits a number as they stand?
    written_number.py      the digits of a cell, and the marks between them
    number_groups.py       how a number's digits are grouped, and which of them are its country code
    number_readings.py     digits → every number that they may stand for
    number_reasons.py      why digits are not taken for a number, in words
    phone_number.py        a cell → E.164, or why not
    same_telephone.py      which numbers reach the same telephone?
    every_reading.py       a cell of a do-not-call list → every number that it may mean
    attribute_template.py  `Dear {first_name}` → text
    code_page.py           can these bytes be Windows-1252? what else may they be?
    text_file.py           which encoding is this file in?
    formulas.py            cells that a spreadsheet would run, written as text and read back
    csv_records.py         which delimiter? where does each record begin?
    list_columns.py        which column is which?
    call_list.py           CSV rows → Recipient | RejectedRow
    list_read.py           how a list was read, which its bytes do not say
    rejects.py             the rejected rows as a file that can be corrected and loaded
    ledger/                the only SQL
    number_zones.py        a number → every zone where its telephone may be
    reminder.py            an appointment → when its recipient is called
    timing.py              by whose clocks a recipient may be called, and when
    progress_bar.py        how far the reading of a file has come
    reading.py             a list's rows, checked and laid out for the ledger
    load.py                a list into the ledger, with progress and a rejects file
    as_of.py               when a rehearsal begins
    outlook.py             when may one recipient be dialed? what each rule says
    time_words.py          instants and spans as people say them
    waits_view.py          for what people wait, in words
    reasons.py             why nothing dials, by code and in words
    brake_view.py          a brake in words, and for machines
    report.py              the numbers and the reasons that people read
    status_view.py         the same in words and tables
    explain.py             one recipient's whole story, and what comes next
    outlook_view.py        what the rules say of a recipient, in words
    explain_view.py        the same in words
    number_hints.py        does a column of numbers look as if a choice would make it readable?
    plan.py                what would become of a list
    plan_view.py           the same in words
    requeue.py             an operator asks for another attempt: for whom
    requeue_view.py        the same in words
    scratch_table.py       a table on the disk, for as long as a list is read
    listed_number.py       one number of a file of those that are not called
    national_list.py       the files of the national do-not-call registry, row by row
    national_numbers.py    the same → ListedNumber | RejectedRow
    number_list.py         a file of numbers that are not to be called
    last_change.py         what a list of changes says last of each number
    suppress.py            an operator says which numbers are not to be called
    suppress_view.py       the same in words
    conflicts_view.py      choices that cannot all hold, in words
    edited_file.py         a campaign's file that was edited since it was loaded
    drop_view.py           what became of recipients who were taken out, in words
    load_view.py           what became of a list and of the campaign's file, in words
    export.py              the results as CSV or JSON Lines
    setting_names.py       all DIALER_* names, and what a misspelt one was meant to be
    settings.py            DIALER_* settings of this side
    whereabouts.py         which ledger a command means, in whichever folder it is called
    schedule_view.py       the schedules, and what comes next, in words
    command_line.py        what the commands have in common
    list_input.py          a file, or `-` for standard input; a campaign's file beside it
    load_cli.py            `dialer load`
    start_cli.py           `dialer start`, `pause` and `resume`
    cancel_cli.py          `dialer cancel`
    drop_cli.py            `dialer drop`
    requeue_cli.py         `dialer requeue`
    status_cli.py          `dialer status`
    explain_cli.py         `dialer explain`
    export_cli.py          `dialer export`
    discard_cli.py         `dialer discard`
    schedule_cli.py        `dialer schedule`
    suppress_cli.py        `dialer suppress`
    cli.py                 what an operator does: all of these
"""
