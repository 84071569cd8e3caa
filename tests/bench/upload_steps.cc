namespace forebay::bench { void AddUploadSteps() {} }
